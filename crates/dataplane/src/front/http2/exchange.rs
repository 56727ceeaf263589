//! One request of a connection, from its head to the end of its answer.

use super::body::Received;
use super::session::Exchanged;
use super::stall::{Stall, Stalled};
use crate::front::{Client, Stream};
use crate::incoming::Incoming;
use crate::meters::Http2;
use crate::outgoing::Outgoing;
use crate::way;
use crate::worker::Worker;
use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, DATE, EXPECT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use sluice_http_semantics::hop::remove_response_hop_by_hop;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

/// Serves one request, whatever comes.
pub(super) async fn serve(
    worker: Rc<Worker>,
    client: Rc<Client>,
    exchanged: Rc<Exchanged>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let stream = respond.stream_id();
    let exchange = Exchange {
        worker: &worker,
        exchanged: &exchanged,
    };
    let served = AssertUnwindSafe(exchange.serve(client, request, &mut respond))
        .catch_unwind()
        .await;
    let ended = match served {
        Ok(ended) => ended,
        Err(panic) => {
            // Not within a request's way, which catches its own: within a body.
            worker.panicked("a body", &*panic);
            Ended::Failed
        }
    };
    match ended {
        Ended::Answered => exchanged.session().answered(),
        Ended::Cancelled => exchanged.session().cancelled(),
        Ended::Gone => {}
        Ended::Stalled => {
            worker.cells.http2_ended(Http2::Stalled, 1);
            tracing::debug!(?stream, "a stream whose client takes nothing was reset");
            respond.send_reset(Reason::CANCEL);
        }
        // Whatever was sent of the answer is not the whole.
        Ended::Failed => respond.send_reset(Reason::INTERNAL_ERROR),
    }
}

/// How an exchange ended, to its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// All of the answer was given to the connection.
    Answered,
    /// The client reset the stream.
    Cancelled,
    /// The connection is over.
    Gone,
    /// The client did not take the answer in time.
    Stalled,
    /// The answer broke off.
    Failed,
}

struct Exchange<'e> {
    worker: &'e Rc<Worker>,
    exchanged: &'e Rc<Exchanged>,
}

// === impl Ended ===

impl Ended {
    /// Why the library says that nothing more can be sent.
    fn by(reset: &Result<Reason, h2::Error>) -> Self {
        match reset {
            Ok(_) => Self::Cancelled,
            Err(_) => Self::Gone,
        }
    }
}

// === impl Exchange ===

impl Exchange<'_> {
    async fn serve(
        &self,
        client: Rc<Client>,
        request: Request<RecvStream>,
        respond: &mut SendResponse<Bytes>,
    ) -> Ended {
        let (head, body) = request.into_parts();
        // A length that is none was refused by the library.
        let length = head
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let continues = head
            .headers
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let is_head = head.method == http::Method::HEAD;
        let body = Incoming::Http2(Received::new(body, Rc::clone(self.exchanged), length));
        let request = Request::from_parts(head, body);
        let stream = Stream::Http2(Rc::clone(self.exchanged));
        let answer = pin!(way::answer(Rc::clone(self.worker), client, stream, request));
        let answer = match self.answer(answer, respond, continues).await {
            Ok(answer) => answer,
            Err(ended) => return ended,
        };
        let (mut head, body) = answer.into_parts();
        let ends = is_head || body.is_end_stream();
        if !ends
            && let Some(length) = body.size_hint().exact()
            && !head.headers.contains_key(CONTENT_LENGTH)
        {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        self.finish(&mut head.headers);
        let Ok(sender) = respond.send_response(Response::from_parts(head, ()), ends) else {
            return Ended::Gone;
        };
        if ends {
            return Ended::Answered;
        }
        self.pass(body, sender).await
    }

    /// Waits for the head of the answer, and for a client that does not.
    async fn answer<F, E>(
        &self,
        mut answer: Pin<&mut F>,
        respond: &mut SendResponse<Bytes>,
        mut continues: bool,
    ) -> Result<Response<Outgoing>, Ended>
    where
        F: Future<Output = Result<Response<Outgoing>, E>>,
    {
        poll_fn(|cx| {
            if let Poll::Ready(Ok(answer)) = answer.as_mut().poll(cx) {
                return Poll::Ready(Ok(answer));
            }
            if continues && self.exchanged.take_wanted() {
                continues = false;
                let mut head = Response::new(());
                *head.status_mut() = StatusCode::CONTINUE;
                // A client that is gone is told of below.
                let _ = respond.send_informational(head);
            }
            respond.poll_reset(cx).map(|reset| Err(Ended::by(&reset)))
        })
        .await
    }

    /// What a head needs on this protocol (RFC 9113 §8.2.2), and what every answer has.
    fn finish(&self, headers: &mut HeaderMap) {
        remove_response_hop_by_hop(headers);
        if !headers.contains_key(DATE) {
            headers.insert(DATE, self.worker.door.date.now());
        }
    }

    /// Passes a body on, no faster than the client opens its windows: the library is given what it
    /// may send, and holds nothing that waits for the client.
    async fn pass(&self, mut body: Outgoing, mut sender: SendStream<Bytes>) -> Ended {
        loop {
            let frame = poll_fn(|cx| {
                if let Poll::Ready(reset) = sender.poll_reset(cx) {
                    return Poll::Ready(Err(Ended::by(&reset)));
                }
                Pin::new(&mut body).poll_frame(cx).map(Ok)
            })
            .await;
            let frame = match frame {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => return sent(sender.send_data(Bytes::new(), true)),
                Ok(Some(Err(_))) => return Ended::Failed,
                Err(ended) => return ended,
            };
            let ends = body.is_end_stream();
            match frame.into_data() {
                Ok(data) if data.is_empty() && !ends => {}
                Ok(data) => match self.give(data, ends, &mut sender).await {
                    Ok(()) if ends => return Ended::Answered,
                    Ok(()) => {}
                    Err(ended) => {
                        body.lost();
                        return ended;
                    }
                },
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return sent(sender.send_trailers(trailers));
                    }
                }
            }
        }
    }

    /// Gives one piece, as the windows allow.
    async fn give(&self, mut data: Bytes, ends: bool, sender: &mut SendStream<Bytes>) -> Result<(), Ended> {
        let mut stall = Stall::new(self.worker.edge().write_stall);
        loop {
            sender.reserve_capacity(data.len());
            let room = match data.len() {
                0 => 0,
                _ => poll_fn(|cx| self.poll_room(cx, sender, &mut stall)).await?,
            };
            let piece = data.split_to(room.min(data.len()));
            stall.took(piece.len());
            self.exchanged.session().sent(piece.len());
            let last = data.is_empty();
            sender.send_data(piece, ends && last).map_err(|_| Ended::Gone)?;
            if last {
                return Ok(());
            }
        }
    }

    fn poll_room(
        &self,
        cx: &mut Context<'_>,
        sender: &mut SendStream<Bytes>,
        stall: &mut Stall,
    ) -> Poll<Result<usize, Ended>> {
        loop {
            let room = sender.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room));
            }
            match sender.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => {
                    let Poll::Ready(reset) = sender.poll_reset(cx) else {
                        return Poll::Ready(Err(Ended::Gone));
                    };
                    return Poll::Ready(Err(Ended::by(&reset)));
                }
                Poll::Pending => {
                    return stall
                        .poll(cx, self.exchanged.last_byte())
                        .map(|Stalled| Err(Ended::Stalled));
                }
            }
        }
    }
}

fn sent(result: Result<(), h2::Error>) -> Ended {
    match result {
        Ok(()) => Ended::Answered,
        Err(_) => Ended::Gone,
    }
}
