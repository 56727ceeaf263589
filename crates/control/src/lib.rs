//! A change's way: check, diff, compile, propose, follow, publish; status, history, boot guard.
