#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::Reader;
use protocol::world::World;

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data);
    let Ok(world) = World::read(&mut reader) else { return };
    assert!(reader.at() <= data.len());
    assert_eq!(World::parse(&world.to_bytes()).as_ref(), Ok(&world));
    let _ = (world.sign_data(), world.is_null(), World::parse_all(data));
});
