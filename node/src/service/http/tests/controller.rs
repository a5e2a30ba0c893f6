//! The controller's paths: its answers, backups and restoring them.

use super::*;

#[tokio::test]
async fn the_controller_answers_and_is_saved_and_restored() {
    let f = fixture();
    let (_, kind, text) = f.raw(ROOT, "GET", "/controller", "").await;
    assert_eq!(kind.as_deref(), Some("application/json"));
    assert!(text.contains("\n\t\"apiVersion\": 4"), "{text}");
    let (status, network) =
        f.ask("POST", &format!("/controller/network/{}______", f.address), r#"{"name":"lab"}"#).await;
    assert_eq!((status, &network["name"]), (200, &json!("lab")));
    let id = network["id"].as_str().unwrap().to_owned();
    let elsewhere = tempfile::tempdir().unwrap();
    let body = json!({"path": elsewhere.path().join("backup.sqlite")}).to_string();
    assert_eq!(f.ask("POST", "/controller/backup", &body).await, (200, json!({"result": true})));
    let (status, kind, text) = f.raw(ROOT, "GET", "/controller/backup", "").await;
    assert_eq!((status.as_u16(), kind.as_deref()), (200, Some("application/octet-stream")));
    assert!(text.starts_with("SQLite format 3\0"));
    let left = std::fs::read_dir(f._folder.path()).unwrap().filter_map(Result::ok);
    assert!(!left.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with("transfer")));
    assert_eq!(f.ask("DELETE", &format!("/controller/network/{id}"), "").await.0, 200);
    assert_eq!(f.ask("GET", "/controller/network", "").await, (200, json!([])));
    assert_eq!(f.ask("POST", "/controller/restore", &body).await, (200, json!({"result": true})));
    assert_eq!(f.ask("GET", "/controller/network", "").await, (200, json!([id])));
    assert_eq!(f.ask("GET", "/unstable/controller/network", "").await.1["meta"]["networkCount"], 1);
    assert_eq!(f.ask("POST", "/controller/backup", "{}").await.0, 400);
    assert_eq!(f.ask("POST", "/controller/restore", r#"{"path":"/nonexistent/file"}"#).await.0, 400);
    assert_eq!(f.ask("GET", "/controller/network", "").await, (200, json!([id])));
    let (status, error) = f.ask("POST", &format!("/controller/network/{id}"), "").await;
    assert_eq!((status, &error["error"]), (400, &json!(400)));
}

#[tokio::test]
async fn a_backup_writes_over_nothing_in_the_home() {
    let f = fixture();
    let (home, elsewhere) = (f._folder.path(), tempfile::tempdir().unwrap());
    let outside = elsewhere.path();
    std::fs::create_dir(home.join("sub")).unwrap();
    std::os::unix::fs::symlink(home, outside.join("folder")).unwrap();
    std::os::unix::fs::symlink(home.join("identity.secret"), outside.join("file")).unwrap();
    std::os::unix::fs::symlink(home.join("not-there"), outside.join("dangling")).unwrap();
    let secret = std::fs::read(home.join("identity.public")).unwrap();
    let name = home.file_name().unwrap().to_str().unwrap();
    let beside = home.parent().unwrap();
    for path in [
        home.join("identity.public"),
        home.join("new.sqlite"),
        home.join("sub/new.sqlite"),
        home.join("sub/../identity.public"),
        home.to_owned(),
        outside.join("folder/identity.public"),
        outside.join("folder/sub/x"),
        outside.join("file"),
        outside.join("dangling"),
        beside.join(format!("{name}/../{name}/identity.public")),
        beside.join(format!("{name}/sub/../../{name}/./x")),
    ] {
        let (status, said) = f.ask("POST", "/controller/backup", &json!({"path": path}).to_string()).await;
        assert!(
            status == 400 && said["description"].as_str().unwrap().contains("home"),
            "{path:?}: {status} {said}"
        );
    }
    assert_eq!(std::fs::read(home.join("identity.public")).unwrap(), secret);
    assert!(!home.join("new.sqlite").exists() && !home.join("not-there").exists());
    for path in [outside.join("new.sqlite"), outside.join("x/../new.sqlite"), outside.join("none/new.sqlite")]
    {
        let (status, said) = f.ask("POST", "/controller/backup", &json!({"path": path}).to_string()).await;
        let there = path == outside.join("new.sqlite");
        assert_eq!(status, if there { 200 } else { 400 }, "{path:?}: {said}");
    }
}
