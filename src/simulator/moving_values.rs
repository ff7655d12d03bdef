//! The endpoints and their values: sums of sine waves over the time of day, so that values change without jumps.

use serde_json::{Value, json};

use crate::domain::Time;

/// A simulated endpoint.
pub(crate) struct SimulatedEndpoint {
    /// Path of the URL.
    pub(crate) path: &'static str,
    /// What the response contains and which API it resembles, as text for the list.
    pub(crate) description: &'static str,
    /// Returns the JSON of the response at an instant.
    pub(crate) build_json: fn(Time) -> Value,
}

/// Every endpoint, in the order of the list.
pub(crate) const ENDPOINTS: &[SimulatedEndpoint] = &[
    SimulatedEndpoint {
        path: "/btc",
        description: "Bitcoin in dollars, like Coinbase's spot price",
        build_json: coinbase_spot,
    },
    SimulatedEndpoint {
        path: "/clima",
        description: "weather in Buenos Aires, like Open-Meteo's current values",
        build_json: open_meteo,
    },
    SimulatedEndpoint {
        path: "/usd",
        description: "euros and pesos for a dollar, like Frankfurter's rates",
        build_json: frankfurter,
    },
    SimulatedEndpoint {
        path: "/btc/kraken",
        description: "Bitcoin in dollars, like Kraken's ticker",
        build_json: kraken,
    },
    SimulatedEndpoint {
        path: "/usd/coinbase",
        description: "currencies for a dollar, like Coinbase's rates",
        build_json: coinbase_rates,
    },
];

fn coinbase_spot(at: Time) -> Value {
    json!({"data": {"amount": format!("{:.2}", btc(at)), "base": "BTC", "currency": "USD"}})
}

fn kraken(at: Time) -> Value {
    let last = btc(at) * 1.0003;
    let side = |price: f64| json!([format!("{price:.5}"), "1", "1.000"]);
    json!({"error": [], "result": {"XXBTZUSD": {
        "a": side(last + 0.1), "b": side(last), "c": [format!("{last:.5}"), "0.00125000"],
    }}})
}

fn open_meteo(at: Time) -> Value {
    const STEP: i64 = 15 * 60 * 1000;
    let step = Time::from_millis(at.as_millis() / STEP * STEP);
    let time = jiff::Timestamp::from_millisecond(step.as_millis()).unwrap_or(jiff::Timestamp::MIN);
    json!({
        "latitude": -34.625, "longitude": -58.375, "timezone": "GMT", "utc_offset_seconds": 0,
        "current_units": {"time": "iso8601", "interval": "seconds", "temperature_2m": "°C", "wind_speed_10m": "km/h",
            "weather_code": "wmo code"},
        "current": {"time": time.strftime("%Y-%m-%dT%H:%M").to_string(), "interval": 900,
            "temperature_2m": round_to_digits(temperature(at), 1), "wind_speed_10m": round_to_digits(wind(at), 1), "weather_code": 2},
    })
}

fn frankfurter(at: Time) -> Value {
    let date = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or(jiff::Timestamp::MIN);
    let date = date.strftime("%Y-%m-%d").to_string();
    json!([
        {"date": date, "base": "USD", "quote": "EUR", "rate": round_to_digits(euros(at), 5)},
        {"date": date, "base": "USD", "quote": "ARS", "rate": round_to_digits(pesos(at), 2)},
    ])
}

fn coinbase_rates(at: Time) -> Value {
    json!({"data": {"currency": "USD", "rates": {
        "ARS": format!("{:.4}", pesos(at) * 1.0002), "BTC": format!("{:.12}", btc(at).recip()),
        "EUR": format!("{:.6}", euros(at) * 1.0002), "USD": "1.0",
    }}})
}

fn btc(at: Time) -> f64 {
    97_000.0
        + 1_800.0 * sine_wave(at, 86_400.0)
        + 260.0 * sine_wave(at, 1_741.0)
        + 35.0 * sine_wave(at, 97.0)
        + 4.0 * sine_wave(at, 11.0)
}

/// Returns degrees Celsius, with the minimum at 03:00 and the maximum at 15:00 local time (UTC−3).
fn temperature(at: Time) -> f64 {
    const TWELVE_HOURS: i64 = 12 * 3600 * 1000;
    // The wave rises through its mean at 09:00 local time, which is 12:00 UTC.
    let day = sine_wave(Time::from_millis(at.as_millis() - TWELVE_HOURS), 86_400.0);
    18.5 + 5.5 * day + 0.9 * sine_wave(at, 613.0) + 0.2 * sine_wave(at, 53.0)
}

fn wind(at: Time) -> f64 {
    12.0 + 5.0 * sine_wave(at, 7_207.0) + 1.5 * sine_wave(at, 131.0)
}

fn euros(at: Time) -> f64 {
    0.876 + 0.004 * sine_wave(at, 43_201.0) + 0.000_4 * sine_wave(at, 89.0)
}

fn pesos(at: Time) -> f64 {
    1_412.0 + 16.0 * sine_wave(at, 65_537.0) + 0.8 * sine_wave(at, 151.0)
}

/// Returns a sine with a period in seconds. The phase is computed in whole milliseconds: a time in floating-point seconds
/// would be rounded.
fn sine_wave(at: Time, period: f64) -> f64 {
    let period = (period * 1000.0) as i64;
    let phase = at.as_millis().rem_euclid(period) as f64 / period as f64;
    (phase * std::f64::consts::TAU).sin()
}

fn round_to_digits(value: f64, digits: i32) -> f64 {
    let unit = 10f64.powi(digits);
    (value * unit).round() / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Time = Time::from_millis(1_795_348_800_000);

    fn noon_plus_seconds(seconds: i64) -> Time {
        Time::from_millis(NOON.as_millis() + seconds * 1000)
    }

    #[test]
    fn responses_have_real_shapes() {
        let spot = coinbase_spot(NOON);
        let amount: f64 = spot["data"]["amount"].as_str().unwrap().parse().unwrap();
        assert!(amount > 90_000.0);
        assert!(kraken(NOON)["result"]["XXBTZUSD"]["c"][0].is_string());
        assert!(open_meteo(NOON)["current"]["temperature_2m"].is_number());
        assert_eq!(
            open_meteo(noon_plus_seconds(3_599))["current"]["time"],
            "2026-11-22T12:45"
        );
        assert_eq!(frankfurter(NOON)[1]["quote"], "ARS");
        assert!(frankfurter(NOON)[0]["rate"].is_number());
        assert!(coinbase_rates(NOON)["data"]["rates"]["EUR"].is_string());
    }

    #[test]
    fn values_move_without_jumps() {
        for second in 0..3_600 {
            let [now, next] = [second, second + 1].map(noon_plus_seconds);
            assert!((btc(now) - btc(next)).abs() < 10.0, "{second}");
            assert!(
                (temperature(now) - temperature(next)).abs() < 0.1,
                "{second}"
            );
        }
        assert!((btc(NOON) - btc(noon_plus_seconds(30))).abs() > 0.01);
    }

    #[test]
    fn afternoon_is_warmer() {
        let (five_am, three_pm) = (noon_plus_seconds(-4 * 3600), noon_plus_seconds(6 * 3600));
        assert!(temperature(three_pm) > temperature(five_am) + 5.0);
    }
}
