//! Whoever answers on the port may be anybody: nothing they send crashes the tool, floods it, or moves the cursor.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

mod common;

use std::io::Write;

use common::{Home, Ran};

fn against(answer: impl Fn(&mut dyn Write) + Send + 'static, line: &str) -> Ran {
    let ran = Home::hostile(answer).old(line);
    assert!(!ran.err.contains("panicked"), "{ran:?}");
    ran
}

fn with_body(body: impl Into<Vec<u8>>) -> impl Fn(&mut dyn Write) + Send + 'static {
    let body = body.into();
    move |stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(&body);
    }
}

const COMMANDS: [&str; 7] =
    ["info", "peers", "listpeers", "listnetworks", "listmoons", "listbonds", "get 361884d8f6000001 status"];

#[test]
fn no_http_at_all() {
    let answers: [&'static [u8]; 4] =
        [b"", b"\x00\x01\x02\r\n\r\n", b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 banana\r\n\r\n"];
    for answer in answers {
        for line in COMMANDS {
            let ran = against(move |stream| drop(stream.write_all(answer)), line);
            assert_eq!(ran.code, 1, "{line}");
            assert!(
                ran.out.starts_with("Error connecting to the ZeroTier service: connection failed"),
                "{ran:?}"
            );
        }
    }
}

#[test]
fn no_json() {
    let deep = vec![b'['; 100_000];
    let bodies: [Vec<u8>; 4] = [b"".to_vec(), b"{".to_vec(), b"\xff\xfe".to_vec(), deep];
    for body in bodies {
        for line in COMMANDS {
            let ran = against(with_body(body.clone()), line);
            let command = line.split(' ').next().unwrap();
            assert_eq!(ran.code, 1, "{line}");
            assert!(ran.out.starts_with(&format!("200 {command} invalid JSON response (")), "{ran:?}");
        }
    }
}

#[test]
fn json_of_other_types() {
    for body in
        ["null", "7", "\"x\"", "[]", "{}", "[null,1,\"x\",[],{\"paths\":[null,{\"preferred\":true}]}]"]
    {
        for line in COMMANDS {
            let ran = against(with_body(body), line);
            assert!(ran.code <= 1, "{line}: {ran:?}");
        }
    }
}

#[test]
fn endless_and_cut_off_replies() {
    let endless = |stream: &mut dyn Write| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = [b"10000\r\n".to_vec(), vec![b' '; 65536], b"\r\n".to_vec()].concat();
        while stream.write_all(&chunk).is_ok() {}
    };
    let ran = against(endless, "info");
    assert!(ran.code == 1 && ran.out.contains("longer than 16 MiB"), "{ran:?}");

    let cut = |stream: &mut dyn Write| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{");
    };
    let ran = against(cut, "info");
    assert!(ran.code == 1 && ran.out.contains("broke off"), "{ran:?}");

    let headers = |stream: &mut dyn Write| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n").is_ok() {}
    };
    assert_eq!(against(headers, "info").code, 1);
}

#[test]
fn texts_cannot_move_the_cursor_or_forge_rows() {
    let network = "[{\"nwid\":\"361884d8f6000001\",\"name\":\"a\\u001b[2J\\n200 listnetworks forged\"}]";
    let ran = against(with_body(network), "listnetworks");
    assert_eq!(ran.out.lines().count(), 2, "{ran:?}");
    assert!(!ran.out.contains('\u{1b}'), "{ran:?}");
    let refusal = |stream: &mut dyn Write| {
        let _ = stream.write_all(b"HTTP/1.1 500 X\r\nContent-Length: 5\r\n\r\n\x1b[2Jx");
    };
    against(refusal, "info").fails(1, "500 info ?[2Jx\n");
}
