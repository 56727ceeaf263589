//! Calls of the store, on a network that loses and delays.

use super::{Body, EPOCH, Event, Fault, HEARTBEAT, KEY, MS, Message, TIMEOUT, World, broken, mono_of};
use sluice_shared_state::ledger::{From, Header, Request, Served};
use sluice_shared_state::limit::{Source, Token};
use sluice_shared_state::{Moment, StoreTime};

impl World {
    pub(super) fn sends(&mut self, node: usize, request: Request) {
        self.out.calls += 1;
        let call = self.count + 1;
        let mut header = self.header(node);
        header.local = self.nodes[node].local;
        self.nodes[node].call = Some(call);
        self.nodes[node].called = self.now;
        self.send(node, call, header, Some(request));
    }

    fn send(&mut self, node: usize, call: u64, header: Header, request: Option<Request>) {
        let message = Message {
            node,
            boot: self.nodes[node].boot,
            call,
            header,
            request,
        };
        self.at(self.now + TIMEOUT, Event::GivenUp, Body::GivenUp(message.clone()));
        if !self.is_lost(node) {
            let mut at = self.now + self.way();
            for fault in &self.scene.faults {
                if let Fault::Frozen(from, until) = *fault
                    && (from..until).contains(&at)
                {
                    at = until + self.chance.u64(0..MS);
                }
            }
            self.at(at, Event::Served, Body::Served(message));
        }
    }

    pub(super) fn serves(&mut self, mut message: Message) {
        let store = StoreTime(EPOCH + self.now / 1000);
        if let Some(request) = &mut message.request {
            broken::call(self.scene.broken, request);
        }
        let requests: Vec<Request> = message.request.iter().cloned().collect();
        let mut served = self.ledger.serve(store, &message.header, &requests);
        for reply in &mut served.replies {
            broken::reply(self.scene.broken, reply);
        }
        if let Some(count) = self.ledger.bucket(KEY) {
            let (rate, depth) = count.out();
            self.out.parts = (self.out.parts.0.max(rate), self.out.parts.1.max(depth));
        }
        if !self.is_lost(message.node) {
            let at = self.now + self.way();
            self.at(at, Event::Replied, Body::Replied(message, served));
        }
    }

    pub(super) fn replied(&mut self, message: Message, served: Served) {
        let node = message.node;
        if !self.nodes[node].up || self.nodes[node].boot != message.boot {
            return;
        }
        let expected = if message.request.is_some() {
            self.nodes[node].call
        } else {
            self.nodes[node].beat
        };
        if expected != Some(message.call) {
            return;
        }
        let epoch = served.epoch;
        let at = &mut self.nodes[node];
        (at.fails, at.pause) = (0, 100 * MS);
        let turned = !at.reached || at.epoch != epoch;
        (at.reached, at.epoch) = (true, at.epoch.max(epoch));
        let Some(reply) = served.replies.into_iter().next() else {
            (at.beat, at.local) = (None, false);
            if turned && at.call.is_none() {
                self.poll(node);
            }
            return;
        };
        at.call = None;
        at.local = false;
        let (mono, view) = (self.mono(node), self.view(node));
        let names = self.names.clone();
        let mut instant = self.nodes[node].key.reply(mono, reply, &view.of(&names));
        while let Some((since, cost, lasts)) = self.nodes[node].waiters.front().copied() {
            if instant < u64::from(cost) {
                break;
            }
            instant -= u64::from(cost);
            self.nodes[node].waiters.pop_front();
            let token = Token {
                cost,
                source: Source::Lease,
                generation: u32::MAX,
                taken: mono,
            };
            self.admits(node, since, lasts, token);
        }
        self.settle(node);
        self.poll(node);
        self.settle(node);
    }

    pub(super) fn given_up(&mut self, message: &Message) {
        let node = message.node;
        if !self.nodes[node].up || self.nodes[node].boot != message.boot {
            return;
        }
        let of_key = message.request.is_some();
        let at = &mut self.nodes[node];
        if of_key && at.call == Some(message.call) {
            at.call = None;
        } else if !of_key && at.beat == Some(message.call) {
            at.beat = None;
        } else {
            return;
        }
        at.fails += 1;
        if at.fails >= 3 {
            at.open_until = self.now + at.pause / 2 + self.chance.u64(0..at.pause / 2);
            at.pause = (at.pause * 2).min(400 * MS);
            at.local = true;
            if at.reached {
                self.out.alone = true;
                at.reached = false;
                at.away = Moment(mono_of(at, self.now).0);
            }
        }
        if of_key {
            let (mono, view) = (self.mono(node), self.view(node));
            let names = self.names.clone();
            self.nodes[node].key.lost(mono, &view.of(&names));
        }
        self.settle(node);
        if self.nodes[node].call.is_none() {
            self.poll(node);
        }
        self.settle(node);
    }

    pub(super) fn beats(&mut self, node: usize, boot: u64) {
        if !self.nodes[node].up || self.nodes[node].boot != boot {
            return;
        }
        let due = self.nodes[node].called + HEARTBEAT <= self.now || !self.nodes[node].reached;
        if due && self.nodes[node].beat.is_none() && self.now >= self.nodes[node].open_until {
            let call = self.count + 1;
            let mut header = self.header(node);
            header.local = self.nodes[node].local;
            self.nodes[node].beat = Some(call);
            self.nodes[node].called = self.now;
            self.send(node, call, header, None);
        }
        self.at(self.now + 20 * MS, Event::Beats, Body::Beats(node, boot));
    }

    fn way(&mut self) -> u64 {
        let mut way = MS / 10 + self.chance.u64(0..MS / 5);
        if self.chance.u64(0..100) == 0 {
            way += self.chance.u64(MS..6 * MS);
        }
        for fault in &self.scene.faults {
            if let Fault::Slow(from, until, more) = *fault
                && (from..until).contains(&self.now)
            {
                way += more / 2;
            }
        }
        way
    }

    fn is_lost(&mut self, node: usize) -> bool {
        self.scene.faults.iter().any(|fault| match *fault {
            Fault::Loss(percent) => self.chance.u64(0..100) < percent,
            Fault::Cut(of, from, until) => of == node && (from..until).contains(&self.now),
            _ => false,
        })
    }

    pub(super) fn header(&self, node: usize) -> Header {
        Header {
            from: self.from(node),
            epoch: self.nodes[node].epoch,
            local: false,
            live: self.nodes.len() as u32,
            without: 0,
        }
    }

    pub(super) fn from(&self, node: usize) -> From {
        From {
            node: node as u64,
            boot: self.nodes[node].boot,
        }
    }
}
