#![allow(clippy::unwrap_used)]

use super::*;
use std::fs;
use std::path::Path;

fn sources(flags: &[(&str, &str)], environment: &[(&str, &str)], file: &str) -> Sources {
    let mut sources = Sources::of(flags.iter().copied());
    sources.environment = environment
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect();
    sources.host_name = Some("host".to_owned());
    sources.cores = NonZeroUsize::new(4).unwrap();
    sources.file = (!file.is_empty()).then(|| File {
        path: "node.toml".into(),
        text: file.to_owned(),
    });
    sources
}

fn faults(flags: &[(&str, &str)], environment: &[(&str, &str)], file: &str) -> Vec<String> {
    let faults = Settings::load(&sources(flags, environment, file)).unwrap_err();
    faults.0.iter().map(ToString::to_string).collect()
}

fn one_fault(flags: &[(&str, &str)], environment: &[(&str, &str)], file: &str) -> String {
    let faults = faults(flags, environment, file);
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.into_iter().next().unwrap()
}

#[test]
fn without_anything_a_node_is_a_cluster_of_one_with_the_documented_defaults() {
    let loaded = Settings::load(&sources(&[], &[], "")).unwrap();
    let settings = loaded.settings;
    assert_eq!((settings.cluster.as_str(), settings.name.as_str()), ("sluice", "host"));
    assert_eq!(settings.data, Path::new("./sluice-data"));
    assert_eq!(settings.workers.get(), 4);
    assert!(settings.initial.is_empty() && settings.join.is_empty() && settings.cluster_token.is_none());
    assert_eq!(settings.listen.admin, "127.0.0.1:9080".parse().unwrap());
    assert_eq!(
        settings.listen.traffic,
        [Listener {
            name: "public".into(),
            address: "0.0.0.0:8080".parse().unwrap()
        }]
    );
    assert_eq!(settings.edge.max_uri, 8192);
    assert_eq!(settings.edge.per_address, None);
    assert_eq!(
        (settings.edge.min_rate, settings.edge.write_stall),
        (512, Duration::from_secs(30))
    );
    assert!(settings.edge.proxy_protocol.is_empty());
    assert_eq!(settings.edge.max_memory, MaxMemory::Found);
    assert!(loaded.rows.iter().all(|row| row.origin == "default"));
    assert!(loaded.warnings.is_empty());
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let file = "zone = 'file'\nworkers = 2\n[edge]\nidle = '5s'\n";
    let loaded = Settings::load(&sources(
        &[("zone", "flag")],
        &[("SLUICE_ZONE", "variable"), ("SLUICE_WORKERS", "3"), ("HOME", "/")],
        file,
    ));
    let loaded = loaded.unwrap();
    let row = |name: &str| loaded.rows.iter().find(|row| row.name == name).unwrap().clone();
    assert_eq!(loaded.settings.zone.as_deref(), Some("flag"));
    assert_eq!(row("zone").from.as_deref(), Some("--zone"));
    assert_eq!(loaded.settings.workers.get(), 3);
    assert_eq!(row("workers").from.as_deref(), Some("SLUICE_WORKERS"));
    assert_eq!(row("edge.idle").from.as_deref(), Some("node.toml:4"));
    assert_eq!(row("edge.idle").origin, "file");
}

#[test]
fn lists_have_commas_in_flags_and_variables_and_are_lists_in_the_file() {
    let by_flag = sources(
        &[
            ("listen.http", "127.0.0.1:1, 127.0.0.1:2"),
            ("listen.http", "127.0.0.1:3"),
        ],
        &[],
        "",
    );
    assert_eq!(Settings::load(&by_flag).unwrap().settings.listen.traffic.len(), 3);
    let file = "labels = { disk = 'ssd', rack = '7' }\n[listen]\nhttp = ['127.0.0.1:1']\nnamed = { partner = 'http://0.0.0.0:8090' }\n";
    let by_file = Settings::load(&sources(&[], &[], file)).unwrap().settings;
    assert_eq!(by_file.labels["rack"], "7");
    assert_eq!(by_file.listen.traffic[1].name, "partner");
    let named = sources(&[], &[("SLUICE_LISTEN_NAMED", "partner=http://0.0.0.0:8090")], "");
    assert_eq!(
        Settings::load(&named).unwrap().settings.listen.traffic[1]
            .address
            .port(),
        8090
    );
}

#[test]
fn an_unknown_key_of_the_file_is_told_with_its_line_and_the_nearest_name() {
    let fault = one_fault(&[], &[], "name = 'n1'\n[listen]\nhtpp = []\n");
    assert!(fault.starts_with("node.toml:3:"), "{fault}");
    assert!(fault.contains("\"listen.http\""), "{fault}");
    let misplaced = one_fault(&[], &[], "drain_delay = '1s'\n");
    assert!(misplaced.contains("edge.drain_delay"), "{misplaced}");
    let strange = one_fault(&[], &[], "[colours]\nred = 1\n");
    assert!(!strange.contains("did you mean"), "{strange}");
}

#[test]
fn a_wrong_type_in_the_file_is_told_with_what_is_expected() {
    let all = faults(
        &[],
        &[],
        "workers = 'four'\n[listen]\nhttp = '0.0.0.0:80'\n[edge]\nidle = 5\n",
    );
    assert_eq!(all.len(), 3);
    assert!(
        all.iter()
            .any(|fault| fault.contains("node.toml:1: workers is a text, expected a whole number")),
        "{all:?}"
    );
    assert!(
        all.iter()
            .any(|fault| fault.contains("listen.http is a text, expected a list")),
        "{all:?}"
    );
    assert!(all.iter().any(|fault| fault.contains("\"5s\"")), "{all:?}");
    assert!(one_fault(&[], &[], "name = \n").starts_with("node.toml:1: not TOML"));
}

#[test]
fn settings_of_features_to_come_are_refused_by_their_own_message_unless_they_ask_for_nothing() {
    for (key, value) in [("otlp.endpoint", "http://h"), ("listen.https", "0.0.0.0:8443")] {
        let fault = one_fault(&[(key, value)], &[], "");
        assert!(fault.contains("not built yet"), "{fault}");
    }
    assert!(one_fault(&[], &[], "otlp = 'http://h'\n").contains("otlp.endpoint is not built yet"));
    assert!(Settings::load(&sources(&[], &[], "[listen]\nhttps = []\n")).is_ok());
}

#[test]
fn an_address_that_others_cannot_reach_asks_for_one_that_they_can() {
    let fault = one_fault(&[("listen.peer", "0.0.0.0:7080")], &[], "");
    assert!(
        fault.contains("advertise.peer is needed")
            && fault.contains("--advertise-peer")
            && fault.contains("SLUICE_ADVERTISE_PEER"),
        "{fault}"
    );
    assert!(one_fault(&[("listen.admin", "[::]:9080")], &[], "").contains("advertise.admin"));
    let said = sources(
        &[("listen.peer", "0.0.0.0:7080"), ("advertise.peer", "n1:7080")],
        &[],
        "",
    );
    let settings = Settings::load(&said).unwrap().settings;
    assert_eq!(
        settings
            .reached_by_peers_at("0.0.0.0:7080".parse().unwrap())
            .to_string(),
        "n1:7080"
    );
    assert_eq!(
        settings.admin_reached_at("127.0.0.1:9".parse().unwrap()).to_string(),
        "127.0.0.1:9"
    );
}

#[test]
fn two_listeners_of_one_port_are_refused_before_anything_is_bound() {
    assert!(one_fault(&[("listen.admin", "127.0.0.1:8080")], &[], "").contains("same port"));
    assert!(one_fault(&[("listen.named", "a=http://127.0.0.2:8080")], &[], "").contains("listen.named a"));
    let apart = sources(
        &[("listen.http", "127.0.0.1:8080"), ("listen.admin", "127.0.0.2:8080")],
        &[],
        "",
    );
    assert!(Settings::load(&apart).is_ok());
    let chosen = sources(
        &[
            ("listen.http", "127.0.0.1:0,127.0.0.1:0"),
            ("listen.admin", "127.0.0.1:0"),
        ],
        &[],
        "",
    );
    assert!(Settings::load(&chosen).is_ok());
}

#[test]
fn a_first_member_must_be_in_the_list_and_have_a_token() {
    let three = "n1=127.0.0.1:1,n2=127.0.0.1:2,n3=127.0.0.1:3";
    let stranger = faults(&[("initial", three), ("name", "n4")], &[], "");
    assert!(stranger.iter().any(|fault| fault.contains("join")), "{stranger:?}");
    let bare = one_fault(&[("initial", three), ("name", "n1")], &[], "");
    assert!(bare.contains("SLUICE_CLUSTER_TOKEN"), "{bare}");
    let token = [("SLUICE_CLUSTER_TOKEN", "0123456789abcdef0123456789abcdef")];
    let good = Settings::load(&sources(&[("initial", three), ("name", "n1")], &token, "")).unwrap();
    assert_eq!(good.settings.initial.len(), 3);
    let row = good.rows.iter().find(|row| row.name == "cluster_token").unwrap();
    assert_eq!(row.value, "(not shown)");
    assert!(!format!("{:?}", good.settings).contains("0123456789abcdef"));
    let both = faults(
        &[("initial", three), ("name", "n1"), ("join", "127.0.0.1:4")],
        &token,
        "",
    );
    assert!(both[0].contains("leave one out"), "{both:?}");
    let twice = faults(
        &[("initial", "n1=127.0.0.1:1,n2=127.0.0.1:1"), ("name", "n1")],
        &token,
        "",
    );
    assert!(twice[0].contains("same address"), "{twice:?}");
    assert!(Settings::load(&sources(&[("initial", "n1=127.0.0.1:1"), ("name", "n1")], &[], "")).is_ok());
}

#[test]
fn a_token_file_loses_its_line_end_and_open_permissions_are_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let flags = [("admin_token_file", path.to_str().unwrap())];
    let loaded = Settings::load(&sources(&flags, &[], "")).unwrap();
    assert_eq!(
        loaded.settings.admin_token.unwrap().expose(),
        "0123456789abcdef0123456789abcdef"
    );
    assert!(loaded.warnings.is_empty());

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let loaded = Settings::load(&sources(&flags, &[], "")).unwrap();
    assert!(loaded.warnings[0].contains("chmod 600"), "{:?}", loaded.warnings);

    fs::write(&path, "short").unwrap();
    let loaded = Settings::load(&sources(&flags, &[], "")).unwrap();
    assert!(loaded.warnings.iter().any(|warning| warning.contains("guessed")));

    fs::write(&path, "\n").unwrap();
    assert!(one_fault(&flags, &[], "").contains("empty"));
    assert!(one_fault(&[("admin_token_file", "/nowhere/token")], &[], "").contains("/nowhere/token"));
}

#[test]
fn a_token_comes_from_the_higher_source_and_two_of_the_same_height_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "from-the-file-0123456789").unwrap();
    let path = path.to_str().unwrap();
    let variable = ("SLUICE_ADMIN_TOKEN", "from-the-variable-0123456789");
    let token = |flags: &[(&str, &str)], environment: &[(&str, &str)], file: &str| {
        let loaded = Settings::load(&sources(flags, environment, file)).unwrap();
        loaded.settings.admin_token.unwrap().expose().to_owned()
    };
    assert_eq!(
        token(&[("admin_token_file", path)], &[variable], ""),
        "from-the-file-0123456789"
    );
    let file = format!("admin_token_file = '{path}'\n");
    assert_eq!(token(&[], &[variable], &file), "from-the-variable-0123456789");
    let clash = one_fault(&[], &[variable, ("SLUICE_ADMIN_TOKEN_FILE", path)], "");
    assert!(clash.contains("leave one"), "{clash}");
    assert!(one_fault(&[], &[], "admin_token = 'x'\n").contains("SLUICE_ADMIN_TOKEN"));
}

#[test]
fn a_variable_that_is_no_setting_is_a_warning_and_never_stops_the_node() {
    let environment = [
        ("SLUICE_LISTEN_HTPP", "0.0.0.0:80"),
        ("SLUICE_ADMIN", "http://127.0.0.1:9080"),
        ("SLUICE_LOG", "debug"),
        ("SLUICE_LOG_FORM", "json"),
        ("SLUICE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("SLUICE_ZONE", ""),
    ];
    let loaded = Settings::load(&sources(&[], &environment, "")).unwrap();
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert!(loaded.warnings[0].contains("did you mean SLUICE_LISTEN_HTTP?"));
    assert_eq!(loaded.settings.zone, None);
}

#[test]
fn values_out_of_their_bounds_are_refused_all_at_once() {
    let all = faults(
        &[
            ("name", "-n"),
            ("workers", "many"),
            ("edge.idle", "0s"),
            ("edge.max_headers", "0"),
            ("edge.per_address", "0"),
            ("listen.named", "public=http://0.0.0.0:1"),
            ("labels", "no-value"),
        ],
        &[],
        "",
    );
    assert!(all.len() >= 6, "{all:?}");
    assert!(one_fault(&[("edge.max_uri", "40KiB")], &[], "").contains("edge.max_header_bytes"));
    let twice = sources(&[("zone", "a"), ("zone", "b")], &[], "");
    assert_eq!(Settings::load(&twice).unwrap().settings.zone.as_deref(), Some("b"));
    assert!(one_fault(&[("listen.named", "a=https://0.0.0.0:1")], &[], "").contains("not built yet"));
}

#[test]
fn every_default_is_a_value_that_its_own_setting_takes() {
    for setting in GROUPS.iter().flat_map(|group| group.settings) {
        if setting.built == Built::Yes && !setting.default.is_empty() {
            let sources = sources(&[(setting.key, setting.default)], &[], "");
            assert!(Settings::load(&sources).is_ok(), "{}", setting.key);
        }
    }
}

#[test]
fn the_command_line_takes_every_setting_by_its_flag() {
    let parse =
        |line: &[&str]| command(clap::Command::new("node")).try_get_matches_from(std::iter::once(&"node").chain(line));
    let matches = parse(&[
        "--edge-drain-delay",
        "1s",
        "--ephemeral",
        "--join",
        "a:1",
        "--join",
        "b:2,c:3",
    ])
    .unwrap();
    let sources = process_sources(&matches).unwrap();
    assert!(sources.flags.contains(&("edge.drain_delay".into(), "1s".into())));
    assert!(sources.flags.contains(&("ephemeral".into(), "true".into())));
    assert_eq!(sources.flags.iter().filter(|(key, _)| key == "join").count(), 2);
    assert!(
        parse(&["--otlp", "http://h"]).is_ok(),
        "refused later, by its own message"
    );
    assert!(parse(&["--cluster-token", "x"]).is_err(), "a secret is no flag");
    let missing = process_sources(&parse(&["--config", "/nowhere/node.toml"]).unwrap()).unwrap_err();
    assert!(missing.to_string().contains("/nowhere/node.toml"));
    command(clap::Command::new("node")).debug_assert();
}

#[test]
fn the_page_of_the_documentation_is_the_registry_of_today() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    if std::env::var_os("SLUICE_WRITE_DOCS").is_some() {
        fs::write(&page, markdown()).unwrap();
    }
    let kept = fs::read_to_string(&page).unwrap_or_default();
    assert!(
        kept == markdown(),
        "docs/settings.md is stale: SLUICE_WRITE_DOCS=1 cargo test -p sluice settings"
    );
}

#[test]
fn what_is_known_of_the_edge_is_read_in_its_units() {
    let settings = Settings::load(&sources(
        &[
            ("edge.proxy_protocol", "10.0.0.0/8,fd00::1"),
            ("edge.max_memory", "1GiB"),
            ("edge.min_rate", "0"),
        ],
        &[],
        "",
    ));
    let edge = settings.unwrap().settings.edge;
    assert_eq!(edge.proxy_protocol.len(), 2);
    assert_eq!((edge.max_memory, edge.min_rate), (MaxMemory::Bytes(1 << 30), 0));
    let off = Settings::load(&sources(&[("edge.max_memory", "off")], &[], "")).unwrap();
    assert_eq!(off.settings.edge.max_memory, MaxMemory::Unbounded);
    assert!(one_fault(&[("edge.max_memory", "1MiB")], &[], "").contains("64MiB"));
    assert!(one_fault(&[("edge.proxy_protocol", "balancer")], &[], "").contains("CIDR"));
}

#[test]
fn where_the_shared_state_is_has_a_short_name_and_is_read() {
    let flag = Settings::load(&sources(
        &[("redis", "rediss://h:1,redis://[::1]"), ("redis.sentinel", "main")],
        &[],
        "",
    ));
    let settings = flag.unwrap().settings.redis.unwrap();
    let urls: Vec<String> = settings.urls.iter().map(ToString::to_string).collect();
    assert_eq!(urls, ["rediss://h:1", "redis://[::1]:6379"]);
    assert_eq!(settings.sentinel.as_deref(), Some("main"));
    let file = "redis = 'redis://h'\n";
    assert!(
        Settings::load(&sources(&[], &[], file))
            .unwrap()
            .settings
            .redis
            .is_some()
    );
    let table = "[redis]\nurl = 'redis://h'\nuser = 'sluice'\npassword_file = '/run/secrets/redis'\nnew_keys = 5\n";
    let settings = Settings::load(&sources(&[], &[], table)).unwrap().settings;
    assert_eq!(settings.new_keys, 5);
    let redis = settings.redis.unwrap();
    assert_eq!(redis.user.as_deref(), Some("sluice"));
    assert_eq!(redis.password_file.as_deref(), Some(Path::new("/run/secrets/redis")));
    let none = Settings::load(&sources(&[], &[], "")).unwrap().settings;
    assert_eq!((none.redis, none.new_keys), (None, 20_000));
}

#[test]
fn what_is_wrong_about_the_shared_state_names_the_setting() {
    let redis = ("redis.url", "redis://h");
    for (flags, told) in [
        (vec![("redis.url", "h:6379")], "--redis-url"),
        (
            vec![("redis.url", "redis://me:secret@h")],
            "give these as redis.user and redis.password_file",
        ),
        (
            vec![("redis.url", "redis://a,redis://b")],
            "say what they are by redis.sentinel or redis.cluster",
        ),
        (vec![("redis.user", "me")], "--redis-user"),
        (vec![("redis.cluster", "true")], "set redis.url too"),
        (vec![redis, ("redis.ca", "/ca.pem")], "--redis-ca"),
        (
            vec![redis, ("redis.sentinel", "main"), ("redis.cluster", "true")],
            "leave one out",
        ),
        (vec![redis, ("redis.new_keys", "0")], "--redis-new-keys"),
    ] {
        let fault = one_fault(&flags, &[], "");
        assert!(fault.contains(told), "{told:?} is not in {fault:?}");
    }
}
