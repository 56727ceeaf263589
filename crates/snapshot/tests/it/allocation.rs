//! A look-up takes no memory: counted by an allocator that knows which thread it serves.

use crate::support::compile;
use http::HeaderMap;
use sluice_http_semantics::path::Path;
use sluice_snapshot::{Answer, Lookup, Published};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator as it came; the count beside it is a plain cell of the thread,
// made without memory and without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + 1);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; the pointer came from `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_look_up_allocates_nothing_once_its_thread_is_warm() {
    let snapshot = compile(
        "
upstreams: { a: { targets: ['http://127.0.0.1:9101'] } }
gateways:
  web:
    hosts: [shop.example.com, '*.example.com']
    routes:
      - { id: deep, path: '/{a}/{b}/{c}/{d}', upstream: a }
      - { id: rest, path: /files/**, upstream: a }
      - { id: asked, path: /asked, upstream: a, match: { headers: { x: { regex: '^[a-f]+$' } }, query: { v: '2' }, client: [192.0.2.0/24] } }
      - { id: get, path: /get, methods: [GET, PURGE], upstream: a }
      - { id: rx, path: 'regex:^/v[0-9]+/', upstream: a }
",
    );
    let published = Published::new(1, snapshot).unwrap();
    let mut front = published.front(0);
    let mut headers = HeaderMap::new();
    headers.insert("x", "abc".parse().unwrap());
    let mut count = |host: &str, method: &str, path: &str| {
        let (path, method) = (Path::normalize(path).unwrap(), method.parse().unwrap());
        let lookup = Lookup {
            host,
            path: &path,
            method: &method,
            headers: &headers,
            query: Some("u=1&v=2"),
            client: [192, 0, 2, 7].into(),
            trusted: false,
        };
        let mut once = || {
            let before = ALLOCATED.get();
            let snapshot = front.get();
            let gateway = snapshot.gateway("public", host).unwrap();
            let answer = gateway.route(&lookup);
            let name = match &answer {
                Answer::Route { route, .. } => &*route.id,
                Answer::MethodNotAllowed { .. } => "405",
                Answer::NoRoute => "404",
                Answer::EncodedSlash { .. } => "400",
            };
            (ALLOCATED.get() - before, name.to_owned())
        };
        // Scratch space of expressions is made by a thread's first search.
        once();
        once()
    };
    for (host, method, path, name) in [
        ("shop.example.com", "GET", "/1/2/3/4", "deep"),
        ("a.b.example.com", "GET", "/files/a/b/c/d/e/f", "rest"),
        ("shop.example.com", "POST", "/asked", "asked"),
        ("shop.example.com", "HEAD", "/get", "get"),
        ("shop.example.com", "PUT", "/get", "405"),
        ("shop.example.com", "GET", "/v12/x", "rx"),
        ("shop.example.com", "GET", "/none", "404"),
    ] {
        assert_eq!(count(host, method, path), (0, name.to_owned()), "{path}");
    }
}
