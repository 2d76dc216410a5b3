//! docker-compose.yml, the Dockerfile and what they mount, as far as that can be tried without a container engine: each file is
//! there, each variable is a setting, each port is one that is listened on, and each command is one that runs here, too.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use sojourn::config::{ROWS, Row, Settings};
use yaml_rust2::{Yaml, YamlLoader};

use super::repository;
use super::support::server::{Server, free_port};

fn text(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Yaml {
    let mut documents = YamlLoader::load_from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(documents.len(), 1, "{path}");
    documents.remove(0)
}

fn service<'a>(compose: &'a Yaml, name: &str) -> &'a Yaml {
    let service = &compose["services"][name];
    assert!(!service.is_badvalue(), "no service {name}");
    service
}

fn names(hash: &Yaml) -> BTreeSet<&str> {
    hash.as_hash().into_iter().flat_map(|hash| hash.keys()).filter_map(Yaml::as_str).collect()
}

fn strings(list: &Yaml) -> Vec<&str> {
    list.as_vec().into_iter().flatten().filter_map(Yaml::as_str).collect()
}

/// The instructions of a Dockerfile, each on one line.
fn instructions(dockerfile: &str) -> Vec<String> {
    let lines: Vec<_> = dockerfile.lines().filter(|line| !line.starts_with('#')).collect();
    lines
        .join("\n")
        .replace("\\\n", " ")
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// With its variables as a shell would fill them in that has none.
fn by_default(value: &str) -> String {
    let mut filled = value.to_owned();
    while let Some((before, rest)) = filled.split_once("${") {
        let (variable, after) = rest.split_once('}').expect("the end of a variable");
        let default = variable.split_once(":-").unwrap_or_else(|| panic!("{variable} has no default")).1;
        filled = format!("{before}{default}{after}");
    }
    filled
}

#[test]
fn compose_names_services_volumes_and_conditions_that_there_are() {
    let compose = yaml("docker-compose.yml");
    assert_eq!(names(&compose), BTreeSet::from(["services", "volumes"]));
    let services = names(&compose["services"]);
    assert_eq!(services, BTreeSet::from(["demo", "grafana", "postgres", "prometheus", "sojourn"]));
    for name in &services {
        let service = service(&compose, name);
        assert!(!service["image"].is_badvalue() || !service["build"].is_badvalue(), "{name}");
        let waits_for = &service["depends_on"];
        let awaited: Vec<_> = names(waits_for).into_iter().chain(strings(waits_for)).collect();
        assert!(awaited.iter().all(|awaited| services.contains(awaited)), "{name}: {awaited:?}");
        for awaited in names(waits_for) {
            assert_eq!(waits_for[awaited]["condition"].as_str(), Some("service_healthy"));
            let has_check = !compose["services"][awaited]["healthcheck"].is_badvalue() || awaited == "sojourn";
            assert!(has_check, "{awaited} never becomes healthy");
        }
        for port in strings(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port} is open to other machines");
        }
    }
    assert_eq!(strings(&service(&compose, "demo")["profiles"]), ["demo"]);
}

#[test]
fn every_file_that_is_mounted_is_there_and_every_volume_is_declared() {
    let compose = yaml("docker-compose.yml");
    let volumes = names(&compose["volumes"]);
    for name in names(&compose["services"]) {
        for mount in strings(&service(&compose, name)["volumes"]) {
            let (from, _) = mount.split_once(':').expect("a place inside");
            if from.starts_with('.') {
                assert!(repository(from).exists(), "{name}: {from} is not there");
                assert!(mount.ends_with(":ro"), "{name}: {mount}");
            } else {
                assert!(volumes.contains(from), "{name}: {from}");
            }
        }
    }
    let build = service(&compose, "demo")["build"].as_str().expect("a folder");
    assert!(repository(build).join("Dockerfile").exists());
    for (file, folder) in [("Dockerfile", "."), ("config/demo/Dockerfile", "config/demo")] {
        let instructions = instructions(&text(file));
        for line in instructions.iter().filter(|line| line.starts_with("COPY ") && !line.contains("--from")) {
            let paths: Vec<_> = line.split(' ').skip(1).collect();
            let sources = &paths[..paths.len() - 1];
            assert!(sources.iter().all(|source| repository(folder).join(source).exists()), "{file}: {line}");
        }
    }
}

#[test]
fn the_variables_are_settings_with_good_values_and_the_ports_those_that_are_listened_on() {
    let compose = yaml("docker-compose.yml");
    let sojourn = service(&compose, "sojourn");
    let mut settings = Settings::default();
    let image = instructions(&text("Dockerfile"));
    let in_image = image.iter().filter_map(|line| line.strip_prefix("ENV ")).flat_map(|line| line.split(' '));
    let in_image = in_image
        .map(|pair| pair.split_once('=').expect("a value"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let environment = sojourn["environment"].as_hash().expect("variables").iter();
    let in_compose = environment
        .map(|(name, value)| (name.as_str().expect("a name").to_owned(), value.as_str().expect("a text").to_owned()));
    for (name, value) in in_image.chain(in_compose).filter(|(name, _)| name != "STATE_DIRECTORY") {
        let row: &Row =
            ROWS.iter().find(|row| row.variable() == name).unwrap_or_else(|| panic!("{name} is no setting"));
        row.parse_into(&mut settings, &by_default(&value)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(settings.requirepass.is_some(), "protected mode would refuse the other containers");
    let metrics = settings.metrics_addr.expect("metrics").port();
    let ports = [settings.port, metrics].map(|port| format!("127.0.0.1:{port}:{port}"));
    assert_eq!(strings(&sojourn["ports"]), ports);
    assert!(image.contains(&format!("EXPOSE {} {metrics}", settings.port)));
    let postgres = service(&compose, "postgres");
    let password = by_default(postgres["environment"]["POSTGRES_PASSWORD"].as_str().expect("a password"));
    let (user, database) = ("POSTGRES_USER", "POSTGRES_DB");
    let [user, database] = [user, database].map(|name| postgres["environment"][name].as_str().expect("a name"));
    assert_eq!(settings.database_url.expose(), format!("postgres://{user}:{password}@postgres:5432/{database}"));
    let demo = by_default(service(&compose, "demo")["environment"]["REDIS_URL"].as_str().expect("a URL"));
    let password = settings.requirepass.expect("a password");
    assert_eq!(demo, format!("redis://:{}@sojourn:{}", password.expose(), settings.port));
    let scraped = yaml("config/compose/prometheus.yml");
    assert_eq!(strings(&scraped["scrape_configs"][0]["static_configs"][0]["targets"]), [format!("sojourn:{metrics}")]);
}

/// A stop gets longer than the server takes at most, in a container as under systemd.
#[test]
fn a_stop_is_given_the_time_that_it_may_take() {
    let timeout_s = Settings::default().shutdown_timeout.as_secs();
    let compose = yaml("docker-compose.yml");
    let seconds = |text: &str| text.trim_end_matches('s').parse::<u64>().expect("seconds");
    assert!(seconds(service(&compose, "sojourn")["stop_grace_period"].as_str().expect("a time")) > timeout_s);
    let unit = text("config/systemd/sojourn.service");
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).expect("a time");
    assert!(seconds(stop) > timeout_s);
}

#[test]
fn the_image_is_built_by_the_commands_that_run_here() {
    let image = instructions(&text("Dockerfile"));
    let commands: Vec<_> = image.iter().filter_map(|line| line.strip_prefix("RUN ")).collect();
    let cargo: Vec<_> = commands.iter().filter(|command| command.starts_with("cargo ")).collect();
    assert_eq!(cargo, [&"cargo build --release --locked --bin sojourn"]);
    assert!(text("README.md").contains("    cargo build --release --locked --bin sojourn\n"), "the README shows it");
    assert!(image.iter().any(|line| line.starts_with("USER ") && !line.contains("root")), "not as root");
    // What .dockerignore lets through is enough to plan the build.
    let folder = tempfile::tempdir().expect("a folder");
    for kept in text(".dockerignore").lines().filter_map(|line| line.strip_prefix('!')) {
        let target = folder.path().join(kept);
        fs::create_dir_all(target.parent().expect("a folder")).expect("made");
        let copied = Command::new("cp").arg("-r").args([repository(kept), target]).status();
        assert!(copied.is_ok_and(|status| status.success()), "{kept}");
    }
    assert!(folder.path().join("Cargo.lock").exists(), "the image builds with --locked");
    let planned = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--no-deps", "--format-version=1"])
        .current_dir(folder.path())
        .output()
        .expect("cargo runs");
    assert!(planned.status.success(), "{}", String::from_utf8_lossy(&planned.stderr));
}

/// The health check of the image, with the port of a server here.
#[test]
fn the_health_check_tells_a_server_that_serves_from_one_that_does_not() {
    let image = instructions(&text("Dockerfile"));
    let check = image
        .iter()
        .find_map(|line| line.split_once("CMD ").filter(|_| line.starts_with("HEALTHCHECK")))
        .expect("a check");
    let words: Vec<String> = serde_json::from_str(check.1).expect("a list of words");
    let check = |port: u16| {
        let words = words.iter().map(|word| word.replace("/6379", &format!("/{port}")));
        let words: Vec<_> = words.collect();
        Command::new(&words[0]).args(&words[1..]).output().expect("it runs").status.success()
    };
    let open = Server::start("memory://", &[]);
    assert!(check(open.address().port()));
    assert!(open.call(&["CONFIG", "SET", "requirepass", "pw"]).bytes().is_none());
    assert!(check(open.address().port()), "whoever asks for a password answers");
    assert!(!check(free_port()), "nobody is there");
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("s.db").display());
    let _owner = Server::start(&url, &[]);
    let waiting = Server::spawn(&url, &[]);
    waiting.wait_for_log("waiting for the database");
    assert!(!check(waiting.address().port()), "it only waits for its database");
}

#[test]
#[ignore = "needs Docker with its compose plugin: cargo test --test operations -- --ignored an_engine_takes_the_file"]
fn an_engine_takes_the_file() {
    let mut command = Command::new("docker");
    command.args(["compose", "--profile", "demo", "--file"]).arg(repository("docker-compose.yml"));
    let output = command.args(["config", "--quiet"]).output().expect("docker runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
