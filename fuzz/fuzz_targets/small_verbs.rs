#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::verbs::{PathNegotiation, QosMeasurement, RemoteTrace, UserMessage};

// The verbs whose payload has hardly any structure.
fuzz_target!(|data: &[u8]| {
    let mut written = Vec::new();
    if let Ok(message) = UserMessage::parse(data) {
        message.write(&mut written);
        assert_eq!(written, data);
    }
    written.clear();
    if let Ok(report) = QosMeasurement::parse(data) {
        report.write(&mut written);
        assert_eq!(written, data[..written.len()]);
    }
    written.clear();
    if let Ok(path) = PathNegotiation::parse(data) {
        path.write(&mut written);
        assert_eq!(written, data);
    }
    written.clear();
    let trace = RemoteTrace::parse(data);
    trace.write(&mut written);
    assert_eq!(RemoteTrace::parse(&written), trace);
});
