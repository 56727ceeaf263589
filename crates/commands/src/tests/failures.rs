//! What can go wrong between a command and its cluster, and the exit code of each.

use super::double::{Double, Reply, at, problem};
use super::{ORDERS, file, run, run_at};
use crate::exit::Exit;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

fn raw(status: u16, body: &str) -> Reply {
    let mut response = Response::new(Full::new(Bytes::from(body.to_owned())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Some(response)
}

#[test]
fn problems_have_the_exit_codes_that_the_help_states() {
    for (status, code, exit) in [
        (422, "invalid_config", Exit::Refused),
        (409, "level_too_low", Exit::Refused),
        (410, "version_pruned", Exit::Refused),
        (401, "unauthenticated", Exit::Refused),
        (403, "forbidden", Exit::Refused),
        (412, "version_conflict", Exit::Conflict),
        (409, "pending_change", Exit::Conflict),
        (503, "no_majority", Exit::Unreachable),
    ] {
        let double = Double::start(move |asked, _| match asked.method.as_str() {
            "GET" => at(0, &json!({})),
            _ => problem(status, code, &json!({})),
        });
        let (_folder, path) = file("shop.yaml", ORDERS);
        let done = run(&double, &["apply", "-f", path.to_str().unwrap(), "--json"]);
        assert_eq!(done.exit, exit, "{code}: {}", done.err);
        assert_eq!(done.json()["code"], code);
        assert!(done.err.contains("error: "), "{}", done.err);
    }
}

#[test]
fn without_a_leader_a_change_waits_for_one_and_then_gives_up() {
    let double = Double::start(|asked, before| match asked.method.as_str() {
        "GET" => at(0, &json!({})),
        _ if before < 3 => problem(503, "no_leader", &json!({})),
        _ => at(1, &json!({"version": 1, "changed": ["cluster"], "live": ["n1"]})),
    });
    let (_folder, path) = file("shop.yaml", ORDERS);
    let path = path.to_str().unwrap();
    assert_eq!(run(&double, &["apply", "-f", path]).exit, Exit::Done);
    let never = Double::start(|asked, _| match asked.method.as_str() {
        "GET" => at(0, &json!({})),
        _ => problem(503, "no_leader", &json!({})),
    });
    assert_eq!(
        run(&never, &["apply", "-f", path, "--timeout", "300ms"]).exit,
        Exit::Unreachable
    );
}

#[test]
fn without_a_majority_a_document_is_compared_with_what_the_node_has() {
    let double = Double::start(|asked, _| match asked.target.as_str() {
        "/v1/config?read=linearizable" => problem(503, "no_majority", &json!({})),
        _ => at(3, &json!({})),
    });
    let (_folder, path) = file("shop.yaml", ORDERS);
    let done = run(&double, &["diff", path.to_str().unwrap()]);
    assert_eq!(done.exit, Exit::Refused);
    assert!(done.out.contains("+ upstreams/orders"), "{}", done.err);
    assert_eq!(double.lines()[1], "GET /v1/config");
}

#[test]
fn the_diagnostics_of_the_cluster_are_shown() {
    let error = json!({"severity": "error", "code": "unserveable", "message": "node n2 has no listener partner", "path": "gateways.web.listen"});
    let double = Double::start(move |asked, _| match asked.method.as_str() {
        "GET" => at(0, &json!({})),
        _ => problem(422, "invalid_config", &json!({"errors": [error]})),
    });
    let (_folder, path) = file("shop.yaml", ORDERS);
    let done = run(&double, &["apply", "-f", path.to_str().unwrap()]);
    assert!(
        done.err.contains("node n2 has no listener partner") && done.err.contains("gateways.web.listen"),
        "{}",
        done.err
    );
}

#[test]
fn nobody_there_says_how_to_choose_another() {
    let done = run_at("http://127.0.0.1:1", &["status"]);
    assert_eq!(done.exit, Exit::Unreachable);
    assert!(
        done.err.contains("--admin") && done.err.contains("127.0.0.1:1"),
        "{}",
        done.err
    );
    assert_eq!(
        run_at("http://127.0.0.1:1", &["status", "--json"]).json()["code"],
        "unreachable"
    );
    let socket = run_at(
        "http://127.0.0.1:1",
        &["--data", "/nowhere", "status", "--data", "/nowhere"],
    );
    assert_eq!(socket.exit, Exit::Unreachable);
    assert!(socket.err.contains("/nowhere/admin.sock"), "{}", socket.err);
    assert_eq!(run_at("not a url", &["status"]).exit, Exit::Usage);
}

#[test]
fn a_redirect_is_not_followed_and_a_stranger_is_named() {
    let double = Double::start(|_, _| {
        let mut reply = raw(302, "")?;
        reply
            .headers_mut()
            .insert("location", "http://evil.example/".parse().unwrap());
        Some(reply)
    });
    let done = run(&double, &["status"]);
    assert_eq!(done.exit, Exit::Unreachable);
    assert!(done.err.contains("http://evil.example/"), "{}", done.err);
    assert_eq!(double.asked().len(), 1);
    for reply in [(404, "<html>"), (200, "<html>"), (502, "")] {
        let double = Double::start(move |_, _| raw(reply.0, reply.1));
        let done = run(&double, &["status"]);
        assert_eq!(done.exit, Exit::Unreachable, "{}", done.err);
        assert!(done.err.contains("not Sluice's admin API"), "{}", done.err);
    }
}

#[test]
fn a_member_change_whose_answer_is_lost_is_exit_code_5() {
    let double = Double::start(|_, _| None);
    let done = run(&double, &["members", "promote", "n3"]);
    assert_eq!(done.exit, Exit::NotEverywhere);
    assert!(done.err.contains("Nobody knows"), "{}", done.err);
    assert_eq!(run(&double, &["members", "list"]).exit, Exit::Unreachable);
}

#[cfg(unix)]
#[test]
fn the_socket_in_the_data_folder_needs_no_token() {
    use std::io::{Read as _, Write as _};
    let folder = tempfile::tempdir().unwrap();
    let listener = std::os::unix::net::UnixListener::bind(folder.path().join("admin.sock")).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            assert_eq!(stream.read(&mut byte).unwrap(), 1);
            head.push(byte[0]);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"tokens\":[]}")
            .unwrap();
        String::from_utf8(head).unwrap()
    });
    let done = run_at(
        "http://127.0.0.1:1",
        &["token", "list", "--data", folder.path().to_str().unwrap()],
    );
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    let head = server.join().unwrap().to_lowercase();
    assert!(
        head.starts_with("get /v1/tokens http/1.1\r\n") && !head.contains("authorization"),
        "{head}"
    );
}
