//! TLS: with certificates of one's own, and without any that fit.

use super::server::{Server, free_port};
use super::*;
use std::path::PathBuf;

struct Secured {
    server: Server,
    port: u16,
    ca: PathBuf,
    _certificates: tempfile::TempDir,
}

/// A server that speaks TLS alone, by a certificate for 127.0.0.1 that its own authority signed.
fn secured() -> Secured {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let write = |name: &str, text: String| std::fs::write(path(name), text).expect("a file");
    let authority = authority("the right one");
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .and_then(|parameters| parameters.signed_by(&key, &authority.issuer))
        .expect("a certificate");
    write("ca.pem", authority.pem);
    write("server.pem", certificate.pem());
    write("server.key", key.serialize_pem());
    let port = free_port();
    let files: Vec<String> = ["server.pem", "server.key", "ca.pem"]
        .iter()
        .map(|name| path(name).display().to_string())
        .collect();
    let tls_port = port.to_string();
    let server = Server::at(
        port,
        &[
            "--port",
            "0",
            "--tls-port",
            &tls_port,
            "--tls-cert-file",
            &files[0],
            "--tls-key-file",
            &files[1],
            "--tls-ca-cert-file",
            &files[2],
            "--tls-auth-clients",
            "no",
        ],
    );
    Secured {
        server,
        port,
        ca: path("ca.pem"),
        _certificates: directory,
    }
}

struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

fn authority(name: &str) -> Authority {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate().expect("a key");
    let pem = parameters.self_signed(&key).expect("a certificate").pem();
    Authority {
        issuer: rcgen::Issuer::new(parameters, key),
        pem,
    }
}

#[tokio::test]
async fn a_redis_is_spoken_to_in_tls_and_held_against_the_given_certificates() {
    let secured = secured();
    let settings = RedisSettings {
        ca: Some(secured.ca.clone()),
        ..settings(&format!("rediss://127.0.0.1:{}", secured.port))
    };
    let driver = Driver::start(&settings);
    driver.reached().await;
    assert_eq!(driver.answered("sealed").await[2], "sealed");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_until_the_file_is_right() {
    let secured = secured();
    let ca = secured.server.path("ca.pem");
    let url = format!("rediss://127.0.0.1:{}", secured.port);
    std::fs::write(&ca, authority("another one").pem).expect("a file");
    let driver = Driver::start(&RedisSettings {
        ca: Some(ca.clone()),
        ..settings(&url)
    });
    driver.away("no TLS with rediss://127.0.0.1").await;
    std::fs::copy(&secured.ca, &ca).expect("a file");
    driver.reached().await;
    // The system knows nothing of it either.
    Driver::at(&url).away("no TLS with").await;
    let nowhere = Driver::start(&RedisSettings {
        ca: Some(PathBuf::from("/nowhere/ca.pem")),
        ..settings(&url)
    });
    nowhere.away("redis.ca /nowhere/ca.pem cannot be used").await;
}

#[tokio::test]
async fn a_redis_that_does_not_speak_tls_is_not_spoken_to_without() {
    let server = Server::start();
    let driver = Driver::at(&server.url().replace("redis://", "rediss://"));
    driver.away("").await;
    assert_eq!(driver.echo("").await, Err(CallError::Away));
}
