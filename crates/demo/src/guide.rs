//! What the demo prints.

use crate::ports::{NODES, Ports};
use std::fmt::Write as _;
use std::path::Path;

/// What the guide speaks of.
pub(crate) struct Guide<'a> {
    /// How the binary is called in a shell.
    pub(crate) program: &'a str,
    pub(crate) ports: Ports,
    pub(crate) data: &'a Path,
    pub(crate) kept: bool,
    /// The sample document as a file that may be edited.
    pub(crate) file: &'a Path,
    /// The sample document, where it was applied now.
    pub(crate) applied: Option<&'a str>,
    pub(crate) version: u64,
}

impl Guide<'_> {
    pub(crate) fn text(&self) -> String {
        let Self { program, ports, .. } = self;
        let file = shown(self.file);
        let mut text = String::new();
        let _ = writeln!(text, "\nA cluster of {NODES} nodes runs in this process.\n");
        let _ = writeln!(text, "  node  traffic                  admin API                link");
        for n in 1..=NODES {
            let _ = writeln!(
                text,
                "  n{n}    {:<23}  {:<23}  {}",
                format!("http://{}", ports.http(n)),
                format!("http://{}", ports.admin(n)),
                ports.peer(n)
            );
        }
        let first = ports.service(1);
        let last = ports.service(6);
        let _ = writeln!(
            text,
            "\n  sample services on {first} to {}: orders (two), users, echo, slow, flaky",
            last.port()
        );
        let fate = if self.kept {
            "kept"
        } else {
            "temporary; keep it with --data DIR"
        };
        let _ = writeln!(text, "  disk in {} ({fate})", shown(self.data));
        match self.applied {
            Some(document) => {
                let _ = writeln!(text, "\nThis document was applied through n1 (also in {file}):\n");
                for line in document.lines() {
                    let _ = writeln!(
                        text,
                        "{}",
                        if line.is_empty() {
                            String::new()
                        } else {
                            format!("  {line}")
                        }
                    );
                }
            }
            None => {
                let _ = writeln!(
                    text,
                    "\nThe configuration of the last time is live: version {}.",
                    self.version
                );
            }
        }
        let _ = write!(
            text,
            "\nTry, through any node:\n\n  \
             curl -i http://{n1}/orders/7\n  \
             curl http://{n2}/users/42\n  \
             curl -d hello http://{n3}/echo/anything\n  \
             curl http://{n1}/hello/world\n  \
             curl -i http://{n2}/slow/3000\n  \
             curl -i http://{n3}/nowhere\n\n\
             In another terminal, where the commands find this demo by themselves:\n\n  \
             {program} status\n  \
             {program} export > shop.yaml        # change it, then:\n  \
             {program} diff shop.yaml\n  \
             {program} apply -f shop.yaml -m \"my first change\"\n  \
             {program} history\n  \
             {program} rollback 1\n\n\
             Ctrl-C ends it.\n",
            n1 = ports.http(1),
            n2 = ports.http(2),
            n3 = ports.http(3),
        );
        text
    }
}

fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains(' ') { format!("'{text}'") } else { text }
}
