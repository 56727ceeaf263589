//! `split`: to which of several upstreams a request goes.
//!
//! The first arm whose `when` holds takes the request. Where none does, a client's cookie names the arm that it got
//! before, and else one is drawn by weight, among the weights of all arms. All of it is in the request and in the
//! document, so that every node decides alike and none has to ask another.

use crate::fault::Fault;
use crate::values::Plain;
use http::HeaderValue;
use sluice_document::declared;
use sluice_expression::{Condition, Inputs, Scope};

/// Arms, by their index in the document's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    arms: Box<[Arm]>,
    /// The sum of all weights, never 0.
    total: u64,
    sticky: Option<Sticky>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Arm {
    weight: u16,
    when: Option<Condition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sticky {
    name: Box<str>,
    /// By arm.
    cookies: Box<[Cookie]>,
}

/// What a client is given to come back to an arm.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cookie {
    value: [u8; VALUE],
    /// The whole field, over HTTP and over HTTPS.
    plain: HeaderValue,
    secure: HeaderValue,
}

/// Digits of a cookie's value: 64 bits in hexadecimal.
const VALUE: usize = 16;

/// What was decided about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice<'s> {
    /// The index of the arm.
    pub arm: usize,
    /// The `Set-Cookie` that the answer of this arm carries: the client is new, or its arm is gone.
    pub set_cookie: Option<&'s HeaderValue>,
}

// === impl Split ===

impl Split {
    /// Compiles what is declared; whether the upstreams are there is for who knows them.
    pub fn compile(declared: &declared::Split, field: &str, scope: &Scope, faults: &mut Vec<Fault>) -> Option<Self> {
        let before = faults.len();
        let mut arms = Vec::with_capacity(declared.to.len());
        for (i, arm) in declared.to.iter().enumerate() {
            let when = arm.when.as_deref().map(|when| Condition::parse(when, scope));
            let when = when.transpose().unwrap_or_else(|errors| {
                let place = format!("{field}.to[{i}].when");
                faults.extend(errors.into_iter().map(|error| Fault::new(&*place, error)));
                None
            });
            let weight = arm.share();
            arms.push(Arm { weight, when });
        }
        let total = arms.iter().map(|arm| u64::from(arm.weight)).sum();
        if total == 0 {
            faults.push(Fault::new(format!("{field}.to"), crate::FaultKind::NoWeight));
        }
        let sticky = declared.sticky.as_ref().and_then(|sticky| {
            let compiled = Sticky::compile(&sticky.cookie, &declared.to);
            if compiled.is_none() {
                let place = format!("{field}.sticky.cookie");
                faults.push(Fault::new(place, crate::FaultKind::CookieName(sticky.cookie.clone())));
            }
            compiled
        });
        (faults.len() == before).then(|| Self {
            arms: arms.into(),
            total,
            sticky,
        })
    }

    /// Chooses the arm of a request. `random` is drawn evenly from all numbers; `cookies` are the values of its `Cookie`
    /// fields; `secure` says that it came over HTTPS.
    pub fn choose<'c, I: Inputs + Sync>(
        &self,
        inputs: &I,
        cookies: impl IntoIterator<Item = &'c [u8]>,
        secure: bool,
        random: u64,
    ) -> Choice<'_> {
        let inputs = Plain(inputs);
        let holds = |arm: &Arm| arm.when.as_ref().is_some_and(|when| when.holds(&inputs));
        if let Some(arm) = self.arms.iter().position(holds) {
            return Choice { arm, set_cookie: None };
        }
        let Some(sticky) = &self.sticky else {
            let arm = self.by_weight(random);
            return Choice { arm, set_cookie: None };
        };
        // An arm without weight takes no request that nothing sends there: who has its cookie is given another.
        if let Some(arm) = sticky.arm(cookies).filter(|arm| self.arms[*arm].weight > 0) {
            return Choice { arm, set_cookie: None };
        }
        let arm = self.by_weight(random);
        let cookie = &sticky.cookies[arm];
        let set_cookie = Some(if secure { &cookie.secure } else { &cookie.plain });
        Choice { arm, set_cookie }
    }

    fn by_weight(&self, random: u64) -> usize {
        // Scaled down to 0..total; with weights of 16 bits the error is far below what any count would show.
        let scaled = (u128::from(random) * u128::from(self.total)) >> 64;
        let mut left = u64::try_from(scaled).unwrap_or(0);
        for (i, arm) in self.arms.iter().enumerate() {
            let weight = u64::from(arm.weight);
            if left < weight {
                return i;
            }
            left -= weight;
        }
        unreachable!("what is left is below the sum of the weights")
    }

    /// Bytes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        const COOKIE: usize = 200;
        let conditions = self.arms.iter().filter_map(|arm| arm.when.as_ref());
        let cookies = self.sticky.as_ref().map_or(0, |sticky| sticky.cookies.len() * COOKIE);
        size_of::<Self>()
            + self.arms.len() * size_of::<Arm>()
            + conditions.map(Condition::memory).sum::<usize>()
            + cookies
    }
}

// === impl Sticky ===

impl Sticky {
    fn compile(name: &str, arms: &[declared::Arm]) -> Option<Self> {
        let cookies = arms.iter().map(|arm| Cookie::new(name, &arm.upstream));
        Some(Self {
            name: name.into(),
            cookies: cookies.collect::<Option<_>>()?,
        })
    }

    /// The arm that the first cookie of the name holds, if it is one of these.
    fn arm<'c>(&self, cookies: impl IntoIterator<Item = &'c [u8]>) -> Option<usize> {
        let pairs = cookies.into_iter().flat_map(|field| field.split(|byte| *byte == b';'));
        let mut values = pairs.filter_map(|pair| {
            let pair = pair.trim_ascii();
            pair.strip_prefix(self.name.as_bytes())?.strip_prefix(b"=")
        });
        let value = values.next()?;
        self.cookies.iter().position(|cookie| cookie.value == *value)
    }
}

// === impl Cookie ===

impl Cookie {
    /// None where the name can stand in no field.
    fn new(name: &str, upstream: &str) -> Option<Self> {
        let value = digits(of_name(upstream));
        let text = std::str::from_utf8(&value).ok()?;
        // No time: it is gone with the browser, and a weight that changed meanwhile is drawn anew.
        let plain = format!("{name}={text}; Path=/; HttpOnly; SameSite=Lax");
        Some(Self {
            value,
            secure: HeaderValue::try_from(format!("{plain}; Secure")).ok()?,
            plain: HeaderValue::try_from(plain).ok()?,
        })
    }
}

/// A number for the name of an upstream, the same on all nodes and in all versions (FNV-1a of 64 bits): clients keep it.
/// It hides nothing and proves nothing. Who makes one up gets an arm that chance could have given as well.
fn of_name(upstream: &str) -> u64 {
    upstream.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn digits(number: u64) -> [u8; VALUE] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; VALUE];
    for (two, byte) in text.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        two[0] = DIGITS[usize::from(byte >> 4)];
        two[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

#[cfg(test)]
mod tests;
