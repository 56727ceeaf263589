//! What each time-out bounds, for a stream among others.

use super::peer::*;
use crate::support::*;
use sluice_upstream::{Body, SendErrorKind, Which};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const INITIAL_WINDOW_SIZE: u16 = 4;

#[test]
fn each_time_out_ends_its_stream_and_leaves_the_connection() {
    on_worker(async {
        let resets = Rc::new(RefCell::new(Vec::new()));
        let codes = Rc::clone(&resets);
        let backend = target(&[], move |mut peer| {
            let codes = Rc::clone(&codes);
            async move {
                while let Some(frame) = peer.frame().await {
                    let id = frame.id;
                    match (frame.kind, frame.field(":path")) {
                        (RST_STREAM, _) => codes.borrow_mut().push(frame.code()),
                        (HEADERS, Some("/next")) => peer.say(answer(id, "next")).await,
                        (HEADERS, Some("/body")) => peer.say(head(id, 0, &[(":status", "200")])).await,
                        // A sign of life, but no answer.
                        _ => peer.say(self::frame(PING, 0, 0, b"12345678")).await,
                    }
                }
            }
        })
        .await;
        let mut rig = Rig::h2(&backend);
        let defaults = rig.timeouts;
        let cases = [
            ("/", Which::FirstByte),
            ("/", Which::Attempt),
            ("/", Which::Total),
            ("/body", Which::Idle),
            ("/body", Which::Total),
        ];
        for (path, which) in cases {
            rig.timeouts = defaults;
            match which {
                Which::FirstByte => rig.timeouts.first_byte = 40 * MS,
                Which::Attempt => rig.timeouts.attempt = Some(40 * MS),
                Which::Total => rig.timeouts.total = Some(40 * MS),
                Which::Idle => rig.timeouts.idle = 40 * MS,
                Which::Connect => unreachable!(),
            }
            assert_eq!(
                time_out_of(rig.send(request("GET", path, Body::Empty)).await),
                which,
                "{path}"
            );
            assert_eq!(rig.connections(), (0, 1));
        }
        rig.timeouts = defaults;
        assert_eq!(rig.get("/next").await.text(), "next");
        assert_eq!(
            (resets.borrow().as_slice(), backend.accepted.get()),
            (&[CANCEL; 5][..], 1)
        );
    });
}

#[test]
fn a_connection_that_was_silent_for_the_whole_of_a_time_out_takes_no_more() {
    on_worker(async {
        let backend = target(&[], |mut peer| async move {
            while let Some(asked) = peer.request().await {
                if peer.number() > 0 {
                    peer.say(answer(asked.id, "done")).await;
                }
            }
        })
        .await;
        let mut rig = Rig::h2(&backend);
        rig.timeouts.first_byte = 40 * MS;
        assert_eq!(
            time_out_of(rig.send(request("GET", "/", Body::Empty)).await),
            Which::FirstByte
        );
        rig.timeouts.first_byte = Duration::from_secs(30);
        assert_eq!(rig.get("/").await.text(), "done");
        assert_eq!(backend.accepted.get(), 2);
    });
}

#[test]
fn a_target_that_does_not_speak_in_time_is_a_matter_of_the_connection() {
    on_worker(async {
        let backend = Backend::new(|conn| async move {
            let mut peer = Peer::silent(conn).await.unwrap();
            peer.rest().await;
        })
        .await;
        let mut rig = Rig::h2(&backend);
        rig.timeouts.connect = 40 * MS;
        let (error, _) = rig.send(request("GET", "/", Body::Empty)).await.err().unwrap();
        assert!(
            matches!(error.kind, SendErrorKind::Timeout(Which::Connect)) && !error.sent,
            "{error}"
        );
        until("it is given up", || rig.connections() == (0, 0)).await;
    });
}

#[test]
fn an_upload_stops_the_clock_of_the_head_and_a_target_that_takes_nothing_is_given_up() {
    on_worker(async {
        let backend = target(&[(INITIAL_WINDOW_SIZE, 1_000)], |mut peer| async move {
            peer.room = false;
            peer.rest().await;
        })
        .await;
        let mut rig = Rig::h2(&backend);
        rig.timeouts.first_byte = 40 * MS;
        rig.timeouts.idle = 150 * MS;
        let long = chunks(vec![Ok(vec![1; 50_000].into()); 20]);
        assert_eq!(time_out_of(rig.send(request("POST", "/", long)).await), Which::Idle);
        // Who waits for the client has no time-out but the whole.
        rig.timeouts.idle = 40 * MS;
        rig.timeouts.total = Some(200 * MS);
        let slow = endless(pieces(&["some"]));
        assert_eq!(time_out_of(rig.send(request("POST", "/", slow)).await), Which::Total);
    });
}

/// What becomes of a request that is never answered, by a clock that goes by the waits alone, and
/// after how many seconds.
async fn unanswered(pongs: bool) -> (SendErrorKind, u64) {
    tokio::time::pause();
    let backend = target(&[], move |mut peer| async move {
        peer.pongs = pongs;
        peer.rest().await;
    })
    .await;
    let mut rig = Rig::h2(&backend);
    rig.timeouts.first_byte = Duration::from_secs(55);
    let before = tokio::time::Instant::now();
    let (error, _) = rig.send(request("POST", "/", Body::Empty)).await.err().unwrap();
    (error.kind, before.elapsed().as_secs())
}

#[test]
fn a_target_that_does_not_answer_pings_is_given_up() {
    on_worker(async {
        let (kind, after) = unanswered(false).await;
        assert!(matches!(kind, SendErrorKind::Reset), "{kind:?}");
        assert!((40..=41).contains(&after), "{after}");
    });
}

#[test]
fn a_target_that_answers_pings_has_all_the_time_that_is_its_own() {
    on_worker(async {
        let (kind, after) = unanswered(true).await;
        assert!(matches!(kind, SendErrorKind::Timeout(Which::FirstByte)), "{kind:?}");
        assert!((55..=56).contains(&after), "{after}");
    });
}
