use super::*;

#[test]
fn errors_name_the_remedy() {
    let text = classify("ztx", io::Error::from_raw_os_error(libc::ENOENT)).to_string();
    assert!(text.contains("/dev/net/tun") && text.contains("modprobe tun"), "{text}");
    let text = classify("ztx", io::Error::from_raw_os_error(libc::EPERM)).to_string();
    assert!(text.contains("CAP_NET_ADMIN"), "{text}");
    let text = classify("ztx", io::Error::from_raw_os_error(libc::EBUSY)).to_string();
    assert!(text.contains("ztx"), "{text}");
    // `lo` exists and is no TAP.
    assert!(matches!(classify("lo", io::Error::from_raw_os_error(libc::EINVAL)), TapError::NameTaken(_)));
}
