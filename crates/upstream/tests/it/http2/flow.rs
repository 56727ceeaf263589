//! Who waits for whom: slow readers, long uploads, both directions at once, those who leave.

use super::peer::*;
use crate::support::*;
use futures_util::future::join_all;
use http_body_util::BodyExt;
use sluice_upstream::{Body, BodyError, SendErrorKind};
use std::cell::RefCell;
use std::rc::Rc;

const INITIAL_WINDOW_SIZE: u16 = 4;

/// A decent service: sends 300 KB to `/long`, gives back what comes to `/echo`, as it comes.
async fn service() -> Backend {
    Backend::new(|conn| async move {
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(1_000);
        let mut connection = builder.handshake::<_, bytes::Bytes>(conn.stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            tokio::task::spawn_local(async move {
                let path = request.uri().path().to_owned();
                let mut came = request.into_body();
                let Ok(mut stream) = respond.send_response(http::Response::new(()), false) else {
                    return;
                };
                if path == "/long" {
                    let _ = pour(&mut stream, vec![b'x'; 300_000].into()).await;
                } else {
                    while let Some(Ok(bytes)) = came.data().await {
                        let _ = came.flow_control().release_capacity(bytes.len());
                        if pour(&mut stream, bytes).await.is_none() {
                            return;
                        }
                    }
                }
                let _ = stream.send_data(bytes::Bytes::new(), true);
            });
        }
    })
    .await
}

async fn pour(stream: &mut h2::SendStream<bytes::Bytes>, mut bytes: bytes::Bytes) -> Option<()> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?;
        let piece = bytes.split_to(room.min(bytes.len()));
        stream.send_data(piece, false).ok()?;
    }
    Some(())
}

#[test]
fn clients_that_do_not_read_hold_nobody_else_up() {
    on_worker(async {
        let backend = service().await;
        let rig = Rig::h2(&backend);
        let mut unread = Vec::new();
        for _ in 0..99 {
            unread.push(rig.start(request("GET", "/long", Body::Empty)).await.0.unwrap());
        }
        for _ in 0..3 {
            assert_eq!(rig.get("/long").await.body.unwrap().len(), 300_000);
        }
        assert_eq!(backend.accepted.get(), 1);
        let read = unread.into_iter().map(|response| response.into_body().collect());
        for body in join_all(read).await {
            assert_eq!(body.unwrap().to_bytes().len(), 300_000);
        }
        assert_eq!((backend.accepted.get(), rig.connections()), (1, (0, 1)));
    });
}

#[test]
fn small_frames_that_nobody_reads_do_not_end_the_connection() {
    on_worker(async {
        let backend = target(&[], |mut peer| async move {
            while let Some(asked) = peer.request().await {
                let mut bytes = head(asked.id, 0, &[(":status", "200")]);
                for _ in 0..4_000 {
                    bytes.extend(frame(DATA, 0, asked.id, b"0123456789abcdef"));
                }
                bytes.extend(frame(DATA, END_STREAM, asked.id, b""));
                peer.say(bytes).await;
            }
        })
        .await;
        let rig = Rig::h2(&backend);
        let mut unread = Vec::new();
        for _ in 0..20 {
            unread.push(rig.start(request("GET", "/", Body::Empty)).await.0.unwrap());
        }
        assert_eq!(rig.get("/").await.body.unwrap().len(), 64_000);
        for response in unread {
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 64_000);
        }
        assert_eq!(backend.accepted.get(), 1);
    });
}

#[test]
fn a_long_body_passes_both_ways_at_once() {
    on_worker(async {
        let backend = service().await;
        let rig = Rig::h2(&backend);
        let piece: Vec<u8> = (0..50_000u32).map(|i| (i % 251) as u8).collect();
        let sent = || chunks(vec![Ok(piece.clone().into()); 40]);
        let asked = (0..8).map(|_| rig.send(request("POST", "/echo", sent())));
        for answer in join_all(asked).await {
            let body = answer.map_err(|(error, _)| error).unwrap().body.unwrap();
            assert_eq!(body.len(), 2_000_000);
            assert!(body.chunks(50_000).all(|chunk| chunk == piece));
        }
        assert_eq!(backend.accepted.get(), 1);
    });
}

#[test]
fn an_upload_goes_on_while_its_answer_is_not_read() {
    on_worker(async {
        let came = Rc::new(std::cell::Cell::new(0));
        let count = Rc::clone(&came);
        let backend = target(&[], move |mut peer| {
            let count = Rc::clone(&count);
            async move {
                let asked = peer.request().await.unwrap();
                peer.say(head(asked.id, 0, &[(":status", "200")])).await;
                while let Some(frame) = peer.frame().await {
                    count.set(count.get() + frame.payload.len());
                    if frame.ends() {
                        peer.say(frame_end(asked.id)).await;
                    }
                }
            }
        })
        .await;
        let rig = Rig::h2(&backend);
        let sent = chunks(vec![Ok(vec![7; 50_000].into()); 20]);
        let (response, _) = rig.start(request("POST", "/", sent)).await;
        until("all of it came", || came.get() == 1_000_000).await;
        response.unwrap().into_body().collect().await.unwrap();
        assert_eq!(rig.connections(), (0, 1));
    });
}

fn frame_end(id: u32) -> Vec<u8> {
    frame(DATA, END_STREAM, id, b"")
}

#[test]
fn each_message_of_a_stream_arrives_before_the_next_is_sent() {
    on_worker(async {
        let backend = service().await;
        let rig = Rig::h2(&backend);
        let (say, mut said) = tokio::sync::mpsc::unbounded_channel::<bytes::Bytes>();
        let stream = futures_util::stream::poll_fn(move |cx| said.poll_recv(cx));
        let body = http_body_util::StreamBody::new(futures_util::StreamExt::map(stream, |bytes| {
            Ok::<_, BodyError>(http_body::Frame::data(bytes))
        }));
        let (response, _) = rig.start(request("POST", "/echo", Body::boxed(body))).await;
        let mut back = response.unwrap().into_body();
        for i in 0..50u8 {
            say.send(vec![i; 10].into()).unwrap();
            let frame = back.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), vec![i; 10]);
        }
        drop(say);
        assert!(
            back.frame()
                .await
                .is_none_or(|frame| frame.unwrap().into_data().unwrap().is_empty())
        );
    });
}

type Resets = Rc<RefCell<Vec<u32>>>;

/// Answers `/next`; begins an answer to `/half`; says nothing to others. Notes resets.
async fn watching(settings: &'static [(u16, u32)]) -> (Backend, Resets) {
    let resets = Resets::default();
    let codes = Rc::clone(&resets);
    let backend = target(settings, move |mut peer| {
        let codes = Rc::clone(&codes);
        async move {
            peer.room = false;
            while let Some(frame) = peer.frame().await {
                match (frame.kind, frame.field(":path")) {
                    (RST_STREAM, _) => codes.borrow_mut().push(frame.code()),
                    (HEADERS, Some("/next")) => peer.say(answer(frame.id, "next")).await,
                    (HEADERS, Some("/half")) => {
                        peer.say(head(frame.id, 0, &[(":status", "200")])).await;
                        peer.say(self::frame(DATA, 0, frame.id, b"half")).await;
                    }
                    (HEADERS, Some("/refuse")) => {
                        peer.say(head(frame.id, 0, &[(":status", "413")])).await;
                        peer.say(self::frame(DATA, END_STREAM, frame.id, b"no")).await;
                    }
                    _ => {}
                }
            }
        }
    })
    .await;
    (backend, resets)
}

#[test]
fn a_client_that_leaves_ends_its_stream_and_nothing_else() {
    on_worker(async {
        let (backend, resets) = watching(&[]).await;
        let rig = Rc::new(Rig::h2(&backend));
        // Another stream, that is to live on.
        let (other, _) = rig.start(request("GET", "/half", Body::Empty)).await;
        // Before the head, of the request too.
        for body in [Body::Empty, endless(pieces(&["some"]))] {
            let before = resets.borrow().len();
            let asked = tokio::task::spawn_local({
                let rig = Rc::clone(&rig);
                async move { rig.get_with("/silent", body).await }
            });
            until("it is under way", || rig.connections() == (1, 0)).await;
            tokio::time::sleep(5 * MS).await;
            asked.abort();
            until("it is reset", || resets.borrow().len() == before + 1).await;
        }
        // Within the answer, with and without more to send.
        for body in [Body::Empty, endless(pieces(&["some"]))] {
            let before = resets.borrow().len();
            let (response, _) = rig.start(request("POST", "/half", body)).await;
            let mut body = response.unwrap().into_body();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
            drop(body);
            until("it is reset", || resets.borrow().len() == before + 1).await;
        }
        assert_eq!(*resets.borrow(), [CANCEL; 4]);
        assert_eq!(rig.get("/next").await.text(), "next");
        assert_eq!(rig.connections(), (1, 0));
        drop(other);
        until("all are over", || resets.borrow().len() == 5).await;
        assert_eq!((rig.connections(), backend.accepted.get()), ((0, 1), 1));
    });
}

#[test]
fn a_request_whose_body_fails_is_reset_and_is_the_client_s_fault() {
    on_worker(async {
        let (backend, resets) = watching(&[]).await;
        let rig = Rig::h2(&backend);
        let failing = vec![Ok("hel".into()), Err(BodyError::TooLarge { limit: 3 })];
        let (error, _) = rig
            .send(request("POST", "/silent", chunks(failing)))
            .await
            .err()
            .unwrap();
        assert!(
            matches!(error.kind, SendErrorKind::ClientBody(BodyError::TooLarge { limit: 3 })),
            "{error}"
        );
        until("it is reset", || *resets.borrow() == [CANCEL]).await;
        let failing = vec![Ok("hel".into()), Ok("lo".into()), Err(BodyError::ClientGone)];
        let answer = rig.send(request("POST", "/half", chunks(failing))).await;
        // The head is there before the body fails, or not.
        let why = match answer {
            Ok(answer) => answer.body.unwrap_err(),
            Err((error, _)) => match error.kind {
                SendErrorKind::ClientBody(why) => why,
                _ => panic!("{error}"),
            },
        };
        assert!(matches!(why, BodyError::ClientGone), "{why:?}");
        assert_eq!(rig.get("/next").await.text(), "next");
        assert_eq!(backend.accepted.get(), 1);
    });
}

#[test]
fn an_early_refusal_comes_through_and_the_rest_of_the_body_is_not_sent() {
    on_worker(async {
        let (backend, resets) = watching(&[(INITIAL_WINDOW_SIZE, 1_000)]).await;
        let rig = Rig::h2(&backend);
        let long = || chunks(vec![Ok(vec![1; 50_000].into()); 20]);
        for times in 1..4 {
            let answer = rig.send(request("POST", "/refuse", long())).await;
            let answer = answer.map_err(|(error, _)| error).unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (413, "no"));
            until("the stream is ended", || resets.borrow().len() == times).await;
        }
        assert_eq!((backend.accepted.get(), rig.connections()), (1, (0, 1)));
    });
}
