#![no_main]

use libfuzzer_sys::fuzz_target;

use protocol::checksum;
use protocol::crypto::Backend;
use protocol::crypto::gmac_siv::GmacSiv;
use protocol::crypto::poly::Poly;
use protocol::crypto::salsa::{Ahead, Salsa};

// Whatever the key, the length and the alignment: every back end of every cipher says what the portable one says.
fuzz_target!(|data: &[u8]| {
    let Some((key, data)) = data.split_first_chunk::<32>() else { return };
    let Some((nonce, data)) = data.split_first_chunk::<8>() else { return };
    let Some((associated, data)) = data.split_first_chunk::<16>() else { return };

    let other = key.map(|octet| octet ^ 0xa5);
    let library = GmacSiv::with(Backend::Portable, key, &other).expect("the portable one is always there");
    let mut sealed = data.to_vec();
    let tag = library.seal(nonce, associated, &mut sealed);
    let expected = Poly::with(Backend::Portable).map(|poly| poly.tag(key, data));
    let mut stream = data.to_vec();
    let salsa = Salsa::with(Backend::Portable).expect("the portable one is always there");
    salsa.start(&mut Ahead::new(), key, nonce, data.len()).apply(&mut stream);

    for backend in Backend::ALL {
        if let Some(siv) = GmacSiv::with(backend, key, &other) {
            // A buffer of exactly this size: reading or writing beyond it is an error of its own.
            let mut ours = data.to_vec().into_boxed_slice();
            assert_eq!(siv.seal(nonce, associated, &mut ours), tag);
            assert_eq!(ours[..], sealed);
            assert_eq!(siv.open(&tag, associated, &mut ours), Some(*nonce));
            assert_eq!(ours[..], *data);
            let (mut ours, mut theirs) = (data.to_vec(), data.to_vec());
            assert_eq!(
                siv.open(associated, associated, &mut ours),
                library.open(associated, associated, &mut theirs)
            );
            assert_eq!(ours, theirs);
        }
        if let Some(poly) = Poly::with(backend) {
            assert_eq!(Some(poly.tag(key, data)), expected);
        }
        if let Some(salsa) = Salsa::with(backend) {
            let mut ours = data.to_vec().into_boxed_slice();
            salsa.start(&mut Ahead::new(), key, nonce, data.len()).apply(&mut ours);
            assert_eq!(ours[..], stream);
        }
    }

    let at = usize::from(key[0]).min(data.len());
    let (a, b) = data.split_at(at);
    let joined = checksum::combine(checksum::sum(0, a), checksum::sum(0, b), at);
    assert_eq!(joined, checksum::sum(0, data));
});
