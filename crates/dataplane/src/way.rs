//! The way of a request.

use crate::exchange::Exchange;
use crate::front::Client;
use crate::outgoing::Outgoing;
use crate::own_answer::Refusal;
use crate::worker::Worker;
use http::{Request, Response};
use sluice_http_semantics::problem::Code;
use sluice_upstream::Incoming;
use std::convert::Infallible;
use std::rc::Rc;

/// Answers a request, whatever comes.
pub(crate) async fn answer(
    worker: Rc<Worker>,
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<Outgoing>, Infallible> {
    let version = request.version();
    let held = worker.held();
    let mut exchange = Exchange::begin(worker, client, request.method());
    let response = Refusal::new(Code::NoRoute, "nothing").answer(&mut exchange, &held);
    Ok(response.map(|body| Outgoing::new(body, exchange, version)))
}
