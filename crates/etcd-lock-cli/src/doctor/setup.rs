//! Whether the settings can be read, and what they say of TLS.

use std::net::IpAddr;

use etcd_lock::ConnectOptions;
use etcd_lock::grpc::GrpcTransport;

use super::check::{Check, Report};
use crate::connection::Connection;
use crate::settings::{Origin, Settings};

/// The options of the connection and the settings that they were made of, where they can be used.
pub(super) fn check(
    connection: &Connection,
    report: &mut Report,
) -> Option<(ConnectOptions, Settings)> {
    const ADVICE: &str = "correct it; `etcd-lock config` shows where each value comes from";
    let settings = connection.settings();
    let read = settings.and_then(|settings| Ok((settings.options()?, settings)));
    let (options, settings) = match read {
        Ok(read) => read,
        Err(error) => {
            report.add(Check::error("settings", "", &error, ADVICE));
            return None;
        }
    };
    if connection.is_embedded() {
        report.add(Check::ok(
            "settings",
            "an etcd inside of this program is used",
        ));
        return Some((options, settings));
    }
    report.add(Check::ok("settings", summary(&options, &settings)));
    match GrpcTransport::connect(options.clone()) {
        Ok(transport) => {
            let info = transport.info().endpoints.into_iter();
            report.add(tls(info.map(|endpoint| endpoint.name), &settings));
            Some((options, settings))
        }
        Err(error) => {
            report.add(Check::error("TLS", "", &error, ADVICE));
            None
        }
    }
}

fn summary(options: &ConnectOptions, settings: &Settings) -> String {
    let origin = match settings.get("endpoints").map(|value| value.origin) {
        Some(Origin::Flag) => "a flag".to_owned(),
        Some(Origin::Variable(name)) => format!("the variable {name}"),
        Some(Origin::File(_)) => "the configuration file".to_owned(),
        None => "the default".to_owned(),
    };
    let file = match &settings.file {
        Some(file) => format!("configuration file {}", file.display()),
        None => "no configuration file".to_owned(),
    };
    let endpoints = options.endpoints().join(", ");
    format!("endpoints {endpoints} from {origin}, {file}")
}

/// Certificates and keys were read when the transport was made.
fn tls(endpoints: impl Iterator<Item = String>, settings: &Settings) -> Check {
    let (secure, plain): (Vec<_>, Vec<_>) =
        endpoints.partition(|endpoint| endpoint.starts_with("https://"));
    let exposed: Vec<_> = plain.into_iter().filter(|it| !is_local(it)).collect();
    let file = |name: &str| Some(settings.get(name)?.text.to_string_lossy().into_owned());
    if !exposed.is_empty() {
        let text = format!(
            "{} without it: everybody on the way can read and change what is sent",
            exposed.join(", ")
        );
        return Check::warn(
            "TLS",
            text,
            "write https:// before endpoints, and give --cacert",
        );
    }
    if secure.is_empty() {
        return Check::ok("TLS", "none, and none is needed on this machine");
    }
    let trusted = file("cacert").unwrap_or_else(|| "the compiled-in authorities".to_owned());
    let identity = match file("cert") {
        Some(file) => format!("client certificate {file}"),
        None => "no client certificate".to_owned(),
    };
    Check::ok(
        "TLS",
        format!("trusted is {trusted}, {identity}: all files can be read"),
    )
}

/// Whether what is sent to an endpoint stays on this machine.
fn is_local(endpoint: &str) -> bool {
    let Some(address) = endpoint.strip_prefix("http://") else {
        return endpoint.starts_with("unix:");
    };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_of_this_machine_are_local() {
        for endpoint in [
            "http://127.0.0.1:1",
            "http://localhost:1",
            "http://[::1]:1",
            "unix:///a",
        ] {
            assert!(is_local(endpoint), "{endpoint}");
        }
        for endpoint in [
            "http://10.0.0.1:1",
            "http://example:1",
            "http://[fe80::1]:1",
        ] {
            assert!(!is_local(endpoint), "{endpoint}");
        }
    }
}
