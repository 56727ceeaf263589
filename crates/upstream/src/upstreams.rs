//! All upstreams of one worker.

use crate::attempts::Attempts;
use crate::body::Body;
use crate::error::SendError;
use crate::group::Group;
use crate::plan::Plan;
use crate::spec::Spec;
use crate::worker::{Worker, WorkerContext};
use http::{Request, Response};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// What a worker retains between snapshots: targets by upstream and URL, with their pools and the
/// state of their balancing. Lives on one `LocalRuntime`; nothing in it is locked.
///
/// Dropping it closes all kept connections; answers under way go on.
pub struct Upstreams(Rc<Worker>);

// === impl Upstreams ===

impl Upstreams {
    /// Knows no upstream yet.
    #[must_use]
    pub fn new(context: WorkerContext) -> Self {
        Self(Worker::new(context))
    }

    /// Takes `specs` for the present ones, by difference: what did not change keeps its
    /// connections and its turn; new bounds of pools hold at once; kept connections to targets
    /// that are gone are closed, answers under way from them go on. Costs a look-up for each
    /// upstream that did not change.
    pub fn reconcile(&self, specs: &[Arc<Spec>]) {
        let worker = &*self.0;
        let now = Instant::now();
        let mut groups = worker.groups.borrow_mut();
        let round = groups.values().map(|group| group.round.get()).max().unwrap_or(0) + 1;
        for spec in specs {
            if let Some(group) = groups.get(&*spec.name).filter(|group| group.spec.digest == spec.digest) {
                group.round.set(round);
                continue;
            }
            let before = groups.get(&*spec.name);
            let group = Group::new(spec, worker, before.map(|before| &**before), false, now);
            group.round.set(round);
            if let Some(before) = groups.insert(Arc::clone(&spec.name), Rc::new(group)) {
                before.retire(groups.get(&*spec.name).map(|group| &**group));
            }
        }
        groups.retain(|_, group| {
            let stays = group.round.get() == round;
            if !stays {
                group.retire(None);
            }
            stays
        });
    }

    /// Sends `request` to a target of `spec` and waits for the head of its answer.
    ///
    /// The request has its final path, without the target's base path, and none of the fields that
    /// belong to the client's connection (RFC 9110 §7.6.1), nor `Expect`. Its body is read as the
    /// target takes it, and not before. What happens is told in `attempts`.
    ///
    /// Each try is asked of the breaker of `plan` first, and told to it. A try that fails, or an answer that `plan.retry`
    /// names, is followed by another one on another target, where the request may be repeated (RFC 9110 §9.2.2) or the
    /// target has not seen it, its body is at most 64 KiB long or untouched, there is time left, and not so many were
    /// repeated lately. A probe of the breaker is made once.
    ///
    /// Within a try a kept connection that turns out to be dead is replaced once, by a fresh
    /// one, where the request was not written at all, or may be repeated and no byte of an answer
    /// came. Over HTTP/2, what the target says it has not looked at (RFC 9113 §6.8, §8.7) is sent
    /// again whatever its method, eight times at most.
    ///
    /// A target that answers before it has the whole request is passed on at once. With a status
    /// other than 2xx the client's body is read no further; with 2xx it goes on until the answer
    /// ends. The connection is not used again.
    ///
    /// Dropping the future closes the connection; over HTTP/2 it ends the stream alone.
    ///
    /// # Errors
    ///
    /// [`SendError`]; where the breaker was open, `request` is as it was. Once there is an answer, what fails later is in
    /// its body.
    pub async fn send(
        &self,
        spec: &Arc<Spec>,
        plan: Plan<'_>,
        request: &mut Request<Body>,
        attempts: &mut Attempts,
    ) -> Result<Response<Body>, SendError> {
        let group = self.group(spec);
        group.send(&self.0, plan, request, attempts).await
    }

    fn group(&self, spec: &Arc<Spec>) -> Rc<Group> {
        let groups = self.0.groups.borrow();
        match groups.get(&*spec.name) {
            Some(group) if group.spec.digest == spec.digest => Rc::clone(group),
            // A request that began under another version is served by that one to its end.
            before => {
                let before = before.map(|before| &**before);
                Rc::new(Group::new(spec, &self.0, before, true, Instant::now()))
            }
        }
    }
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        for (_, group) in self.0.groups.borrow_mut().drain() {
            group.retire(None);
        }
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams")
            .field("known", &self.0.groups.borrow().len())
            .finish_non_exhaustive()
    }
}
