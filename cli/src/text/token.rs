//! Join tokens, for people.

use api::{ShownToken, TokenState};

use super::{printable, table};

/// All tokens of a network; `now` is the time here, ms since the epoch, from which what is left is shown.
pub fn list(network: &str, tokens: &[ShownToken], now: i64) -> String {
    if tokens.is_empty() {
        return format!("{network} has no join tokens. Make one: ztnode-cli token create {network}\n");
    }
    let rows: Vec<[String; 8]> = tokens
        .iter()
        .map(|token| {
            let record = &token.record;
            let ips: Vec<String> = record.ips.iter().map(ToString::to_string).collect();
            let tags: Vec<_> = record.tags.iter().map(|(id, value)| format!("{id}={value}")).collect();
            let members: Vec<String> = token.members.iter().map(|member| printable(member)).collect();
            [
                record.id.to_string(),
                token.state.name().to_owned(),
                format!("{}/{}", record.used, allowed(token)),
                ends(token, now),
                dash(record.name.as_deref().map(printable).unwrap_or_default()),
                dash(ips.join(",")),
                dash(tags.join(",")),
                dash(members.join(",")),
            ]
        })
        .collect();
    table::layout(["TOKEN", "STATE", "USED", "EXPIRES", "NAME", "IPS", "TAGS", "MEMBERS"], &rows)
}

/// What a new token is valid for.
pub fn made(network: &str, token: &ShownToken, place: Option<&str>) -> String {
    let (planet, join) = match place.unwrap_or_default() {
        "" => (String::new(), "TOKEN"),
        url if url.contains(':') => {
            let url = printable(url);
            (format!("A node that knows no root yet takes the planet of {url}.\n"), "TOKEN")
        }
        name => {
            let name = printable(name);
            (
                format!("A node that knows no root yet takes the planet {name} beside the token's file.\n"),
                "--token-file FILE",
            )
        }
    };
    format!(
        "{}; it is not shown again.\n{planet}There: ztnode-cli join {join} --wait\n",
        valid(network, token)
    )
}

/// The same, of user-data with the token in it.
pub fn user_data(network: &str, token: &ShownToken) -> String {
    format!(
        "{}. Everything that runs on a machine can read its user-data: keep the file to yourself, and delete it when the \
         machine is in.\n",
        valid(network, token)
    )
}

fn valid(network: &str, token: &ShownToken) -> String {
    let nodes = match token.record.uses {
        0 => "any number of nodes".to_owned(),
        1 => "one node".to_owned(),
        uses => format!("{uses} nodes"),
    };
    let created = token.record.created;
    let until = match token.record.expires {
        0 => "until it is revoked".to_owned(),
        end => format!("for {}", span(end.saturating_sub(created))),
    };
    let id = token.record.id;
    format!("Token {id} lets {nodes} into {network}, {until}")
}

fn allowed(token: &ShownToken) -> String {
    match token.record.uses {
        0 => "unlimited".to_owned(),
        uses => uses.to_string(),
    }
}

/// When a good token ends.
fn ends(token: &ShownToken, now: i64) -> String {
    match (token.state, token.record.expires) {
        (TokenState::Good, 0) => "never".to_owned(),
        (TokenState::Good, end) => format!("in {}", span(end.saturating_sub(now))),
        _ => "-".to_owned(),
    }
}

/// A time in its largest unit and the next smaller one.
fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let largest = units.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(units.len() - 1);
    let (unit, name) = units[largest];
    let first = format!("{} {name}", seconds / unit);
    match units.get(largest + 1) {
        Some((smaller, name)) if seconds % unit >= *smaller => {
            format!("{first} {} {name}", seconds % unit / smaller)
        }
        _ => first,
    }
}

fn dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spans() {
        for (ms, text) in [
            (-5, "0 s"),
            (999, "0 s"),
            (59_000, "59 s"),
            (3_600_000, "1 h"),
            (3_599_000, "59 min 59 s"),
            (5_430_000, "1 h 30 min"),
            (7 * 86_400_000, "7 d"),
            (90_061_000, "1 d 1 h"),
        ] {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn a_planet_is_told_where_there_is_one() {
        let token = json!({"id": "5f0c2a19", "uses": 1, "creationTime": 0, "expiryTime": 3_600_000});
        let token: ShownToken = api::of(&token);
        let said = "Token 5f0c2a19 lets one node into 37f2b7c94f000001, for 1 h; it is not shown again.\n";
        let told = made("37f2b7c94f000001", &token, None);
        assert_eq!(told, format!("{said}There: ztnode-cli join TOKEN --wait\n"));
        for (place, told) in [
            ("https://a.example/planet", "of https://a.example/planet.\nThere: ztnode-cli join TOKEN"),
            ("lab.planet", "lab.planet beside the token's file.\nThere: ztnode-cli join --token-file FILE"),
        ] {
            assert_eq!(
                made("37f2b7c94f000001", &token, Some(place)),
                format!("{said}A node that knows no root yet takes the planet {told} --wait\n")
            );
        }
    }

    #[test]
    fn tokens_as_a_table() {
        let tokens = [
            json!({"id": "5f0c2a19", "state": "good", "used": 0, "uses": 1, "expiryTime": 3_600_000, "name": "aws",
                "ipAssignments": ["10.0.2.1"], "tags": [[1000, 5]], "members": []}),
            json!({"id": "00000001", "state": "revoked", "used": 2, "uses": 0, "expiryTime": 0, "name": null,
                "ipAssignments": [], "tags": [], "members": ["5aca06ff8e", "0123456789"]}),
        ];
        let text = list("37f2b7c94f000001", &api::all(&tokens), 60_000);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines[1],
            ["5f0c2a19", "good", "0/1", "in", "59", "min", "aws", "10.0.2.1", "1000=5", "-"]
        );
        assert_eq!(
            lines[2],
            ["00000001", "revoked", "2/unlimited", "-", "-", "-", "-", "5aca06ff8e,0123456789"]
        );
    }
}
