//! What an instance finds in its environment: the standard variables of OpenTelemetry's SDKs.
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>

use std::net::SocketAddr;

use cohort_model::InstanceId;

/// The resource attribute that holds an instance's number.
pub(crate) const INSTANCE: &str = "cohort.instance";
/// Finished spans and log records wait at most this long in the SDK, milliseconds.
const BATCH_DELAY_MS: u32 = 500;
/// Metrics are sent this often, milliseconds.
const METRIC_INTERVAL_MS: u32 = 1000;

/// See [`crate::Receiver::environment`].
pub(crate) fn environment(
    receiver: SocketAddr,
    instance: InstanceId,
    campaign: &str,
    resource_attributes: Option<&str>,
) -> Vec<(String, String)> {
    let number = instance.0;
    let campaign = encoded(campaign);
    // The last of equal keys wins in most SDKs: ours stand behind the user's.
    let user = resource_attributes.map(str::trim).unwrap_or_default();
    let separator = if user.is_empty() || user.ends_with(',') {
        ""
    } else {
        ","
    };
    let attributes = format!(
        "{user}{separator}service.instance.id={campaign}-{instance},{INSTANCE}={number},cohort.campaign={campaign}"
    );
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{receiver}")),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
        ("OTEL_TRACES_EXPORTER", "otlp".to_owned()),
        ("OTEL_METRICS_EXPORTER", "otlp".to_owned()),
        ("OTEL_LOGS_EXPORTER", "otlp".to_owned()),
        ("OTEL_RESOURCE_ATTRIBUTES", attributes),
        ("OTEL_BSP_SCHEDULE_DELAY", BATCH_DELAY_MS.to_string()),
        ("OTEL_BLRP_SCHEDULE_DELAY", BATCH_DELAY_MS.to_string()),
        (
            "OTEL_METRIC_EXPORT_INTERVAL",
            METRIC_INTERVAL_MS.to_string(),
        ),
        ("OTEL_METRIC_EXPORT_TIMEOUT", METRIC_INTERVAL_MS.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// As values of resource attributes must be: percent-encoded but for what is harmless (W3C Baggage).
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_attributes_stay_and_ours_are_encoded() {
        let address = "[::1]:4318".parse().unwrap();
        let all = environment(
            address,
            InstanceId(3),
            "a b,c",
            Some("deployment.environment=test"),
        );
        let value = |name: &str| {
            let found = all.iter().find(|(key, _)| key == name).unwrap();
            found.1.clone()
        };
        assert_eq!(value("OTEL_EXPORTER_OTLP_ENDPOINT"), "http://[::1]:4318");
        assert_eq!(
            value("OTEL_RESOURCE_ATTRIBUTES"),
            "deployment.environment=test,service.instance.id=a%20b%2Cc-i3,cohort.instance=3,cohort.campaign=a%20b%2Cc"
        );
        assert!(all.iter().all(|(name, _)| name != "OTEL_SERVICE_NAME"));
    }
}
