//! What the target gets and what comes back.

use super::peer::*;
use crate::support::*;
use http::HeaderMap;
use sluice_upstream::{Body, BodyError, HostPolicy, SendErrorKind};

/// Answers with the fields and the body that came.
async fn mirror() -> Backend {
    target(&[], |mut peer| async move {
        while let Some(asked) = peer.request().await {
            let mut text: String = asked.fields.iter().map(|(n, v)| format!("{n}: {v}\n")).collect();
            let mut ended = asked.ends();
            text.push_str(&format!("ends with its head: {ended}\n"));
            while !ended {
                let frame = peer.frame().await.unwrap();
                match frame.kind {
                    DATA => text.push_str(&String::from_utf8_lossy(&frame.payload)),
                    HEADERS => text.push_str(&format!("trailers {:?}", frame.fields)),
                    kind => panic!("{kind}"),
                }
                ended = frame.ends();
            }
            peer.say(answer(asked.id, &text)).await;
        }
    })
    .await
}

async fn sent(rig: &Rig, request: http::Request<Body>) -> String {
    rig.send(request).await.map_err(|(error, _)| error).unwrap().text()
}

#[test]
fn a_request_has_its_authority_and_none_of_the_connection_s_fields() {
    on_worker(async {
        let backend = mirror().await;
        let mut rig = Rig::h2(&backend);
        let asked = || {
            let mut request = request("GET", "/a%20b?c=1", Body::Empty);
            for (name, value) in [
                ("connection", "te"),
                ("te", "trailers"),
                ("keep-alive", "1"),
                ("via", "1.1 sluice"),
            ] {
                request.headers_mut().insert(name, value.parse().unwrap());
            }
            request
        };
        let text = sent(&rig, asked()).await;
        let pseudo = ":method: GET\n:scheme: http\n:authority: shop.example\n:path: /a%20b?c=1\n";
        let mut rest: Vec<&str> = text.strip_prefix(pseudo).unwrap().lines().collect();
        rest.sort_unstable();
        assert_eq!(rest, ["ends with its head: true", "te: trailers", "via: 1.1 sluice"]);
        rig.change(|spec| spec.host = HostPolicy::Target);
        let text = sent(&rig, asked()).await;
        assert!(text.contains(&format!(":authority: {}\n", backend.address)), "{text}");
        rig.change(|spec| spec.host = HostPolicy::Literal("b.example".parse().unwrap()));
        assert!(sent(&rig, asked()).await.contains(":authority: b.example\n"));
        assert_eq!(backend.accepted.get(), 1);
    });
}

#[test]
fn bodies_pass_with_a_length_without_one_and_with_trailers() {
    on_worker(async {
        let backend = mirror().await;
        let rig = Rig::h2(&backend);
        let text = sent(&rig, request("POST", "/", Body::Full("hello".into()))).await;
        assert!(text.ends_with("ends with its head: false\nhello"), "{text}");
        let text = sent(&rig, request("GET", "/", chunks(pieces(&["hel", "", "lo"])))).await;
        assert!(text.ends_with("ends with its head: false\nhello"), "{text}");
        let mut declared = request("PUT", "/", chunks(pieces(&["hel", "lo"])));
        declared.headers_mut().insert("content-length", 5.into());
        let text = sent(&rig, declared).await;
        assert!(
            text.contains("content-length: 5\n") && text.ends_with("hello"),
            "{text}"
        );
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "7".parse().unwrap());
        trailers.insert("connection", "x".parse().unwrap());
        let text = sent(&rig, request("POST", "/", with_trailers(pieces(&["hello"]), trailers))).await;
        assert!(text.ends_with("hellotrailers [(\"x-sum\", \"7\")]"), "{text}");
        let text = sent(&rig, request("POST", "/", Body::Empty)).await;
        assert!(text.ends_with("ends with its head: true\n"), "{text}");
        assert_eq!((backend.accepted.get(), rig.connections()), (1, (0, 1)));
    });
}

#[test]
fn trailers_of_an_answer_and_answers_of_trailers_alone_come_through() {
    on_worker(async {
        let backend = target(&[], |mut peer| async move {
            while let Some(asked) = peer.request().await {
                let id = asked.id;
                if asked.field(":path") == Some("/alone") {
                    peer.say(head(id, END_STREAM, &[(":status", "200"), ("grpc-status", "5")]))
                        .await;
                } else {
                    peer.say(head(id, 0, &[(":status", "200")])).await;
                    peer.say(frame(DATA, 0, id, b"ab")).await;
                    peer.say(head(id, END_STREAM, &[("grpc-status", "0")])).await;
                }
            }
        })
        .await;
        let rig = Rig::h2(&backend);
        let answer = rig.get("/alone").await;
        assert_eq!(
            (answer.text().as_str(), &answer.headers["grpc-status"]),
            ("", &"5".parse().unwrap())
        );
        let answer = rig.get("/").await;
        assert_eq!(answer.text(), "ab");
        assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
        assert_eq!(rig.connections(), (0, 1));
    });
}

#[test]
fn an_answer_without_a_body_has_none_whatever_comes_with_it() {
    on_worker(async {
        let backend = target(&[], |mut peer| async move {
            while let Some(asked) = peer.request().await {
                let id = asked.id;
                let said = match asked.field(":path").unwrap() {
                    "/head" => head(id, END_STREAM, &[(":status", "200"), ("content-length", "20")]),
                    "/204" => [
                        head(id, 0, &[(":status", "204")]),
                        frame(DATA, END_STREAM, id, b"surplus"),
                    ]
                    .concat(),
                    "/304" => head(id, END_STREAM, &[(":status", "304"), ("content-length", "5")]),
                    _ => answer(id, "next"),
                };
                peer.say(said).await;
            }
        })
        .await;
        let rig = Rig::h2(&backend);
        for (method, path, status, length) in [
            ("HEAD", "/head", 200, Some("20")),
            ("GET", "/204", 204, None),
            ("GET", "/304", 304, Some("5")),
        ] {
            let got = rig.send(request(method, path, Body::Empty)).await;
            let got = got.map_err(|(error, _)| error).unwrap();
            assert_eq!((got.status, got.text().as_str()), (status, ""), "{path}");
            let told = got.headers.get("content-length").map(|told| told.to_str().unwrap());
            assert_eq!(told, length, "{path}");
            assert_eq!(rig.get("/next").await.text(), "next");
        }
        assert_eq!(backend.accepted.get(), 1);
    });
}

#[test]
fn interim_answers_are_dropped_and_counted() {
    on_worker(async {
        let backend = target(&[], |mut peer| async move {
            while let Some(asked) = peer.request().await {
                for status in ["100", "103", "102"] {
                    peer.say(head(asked.id, 0, &[(":status", status)])).await;
                }
                peer.say(answer(asked.id, "done")).await;
            }
        })
        .await;
        let rig = Rig::h2(&backend);
        let answer = rig.get("/").await;
        assert_eq!((answer.text().as_str(), answer.attempts.interim), ("done", 3));
        assert_eq!(rig.reading().interim, 3);
    });
}

#[test]
fn what_is_no_answer_of_http2_is_told_as_such() {
    on_worker(async {
        let backend = Backend::new(|mut conn| async move {
            conn.some().await;
            conn.say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
            conn.rest().await;
        })
        .await;
        let (error, _) = Rig::h2(&backend)
            .send(request("GET", "/", Body::Empty))
            .await
            .err()
            .unwrap();
        assert!(matches!(error.kind, SendErrorKind::Protocol) && !error.sent, "{error}");

        let backend = target(&[], |mut peer| async move {
            while let Some(asked) = peer.request().await {
                let long = "x".repeat(15_000);
                let path = asked.field(":path").unwrap().to_owned();
                let said = match path.as_str() {
                    "/101" => head(asked.id, 0, &[(":status", "101")]),
                    "/fields" => {
                        let mut fields = vec![(":status", "200")];
                        fields.extend([("a", "b"); 101]);
                        head(asked.id, END_STREAM, &fields)
                    }
                    "/length" => {
                        let said = head(asked.id, 0, &[(":status", "200"), ("content-length", "9")]);
                        [said, frame(DATA, END_STREAM, asked.id, b"short")].concat()
                    }
                    "/long" => head(asked.id, END_STREAM, &[(":status", "200"), ("x-long", &long)]),
                    _ => head(asked.id, END_STREAM, &[("no-status", "1")]),
                };
                peer.say(said).await;
            }
        })
        .await;
        let rig = Rig::h2(&backend);
        for path in ["/fields", "/"] {
            let (error, _) = rig.send(request("GET", path, Body::Empty)).await.err().unwrap();
            assert!(matches!(error.kind, SendErrorKind::Protocol), "{path} {error}");
        }
        let cut = rig.get("/length").await.body;
        assert!(matches!(cut, Err(BodyError::UpstreamMalformed(_))), "{cut:?}");
        assert_eq!(rig.get("/long").await.headers["x-long"].len(), 15_000);
        assert_eq!(backend.accepted.get(), 1);
    });
}
