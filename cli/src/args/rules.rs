//! What `rules …` takes.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `rules …`.
#[derive(Subcommand, Debug)]
pub enum RulesCommand {
    /// Write rules that let these services through and nothing else, and cases that test them; needs no running node
    #[command(
        after_help = "Examples:\n  ztnode-cli rules init --allow web,ssh,dns\n  ztnode-cli rules init office --allow \
        ssh,tcp/8080,udp/51820\n\nWrites NAME.rules and NAME.cases into the current directory, to be read, changed and \
        kept; files that are there already are left as they are."
    )]
    Init {
        /// What the files are called
        #[arg(default_value = "my")]
        name: String,
        /// Services, separated by commas: web, http, https, ssh, dns, ntp, smb, rdp, postgres, mysql, prometheus, tcp/PORT, udp/PORT
        #[arg(long, value_name = "SERVICES", value_delimiter = ',', required = true)]
        allow: Vec<String>,
    },
    /// Compile a rule file to the JSON of the controller API; needs no running node
    #[command(
        after_help = "Examples:\n  ztnode-cli rules compile my.rules\n  ztnode-cli rules compile - < my.rules > \
        my.json\n\nPrints what the reference compiler prints; \"config\" of it can be posted to the controller as \
        it is.\nExit code: 0, or 1 with the place, the word and a hint on standard error."
    )]
    Compile {
        /// The rules; - reads standard input
        file: PathBuf,
        /// Refuse everything the reference compiler refuses
        #[arg(long)]
        strict: bool,
    },
    /// Compile a rule file and point out what is probably not meant; needs no running node
    #[command(
        after_help = "Examples:\n  ztnode-cli rules check my.rules\n  ztnode-cli rules check my.rules --strict \
        --network demo.lab\n\nExit code: 0 (also with warnings, unless --strict), 1 for rules that do not compile, \
        or for warnings with --strict.\nJSON (-j): {\"ok\", \"error\": {line, column, message, hint}|null, \
        \"warnings\": [{code, line, column, message, hint}]}."
    )]
    Check {
        /// The rules; - reads standard input
        file: PathBuf,
        /// Also check that targets of tee, watch and redirect are members of this network of the controller here
        #[arg(long)]
        network: Option<String>,
        /// Warnings count as errors; also refuse what the reference compiler refuses
        #[arg(long)]
        strict: bool,
    },
    /// Give a network of the controller here new rules; its members get them within a second
    #[command(
        after_help = "Examples:\n  ztnode-cli rules set demo.lab my.rules\n  ztnode-cli rules set demo.lab \
        my.rules --dry-run\n\nRules that do not compile are refused, and the old ones stay in force. Warnings are \
        shown, but do not stop it.\nJSON (-j): {\"network\", \"rules\", \"capabilities\", \"tags\" (how many), \
        \"members\" (who get them), \"warnings\", \"applied\"}."
    )]
    Set {
        /// ID or name
        network: String,
        /// The rules; - reads standard input
        file: PathBuf,
        /// Check everything and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show the rules of a network: on its controller what was set, on a member what it enforces
    #[command(
        after_help = "Examples:\n  ztnode-cli rules show demo.lab\n  ztnode-cli rules show 37f2b7c94f000001 \
        --counters\n  ztnode-cli rules show demo.lab --source > my.rules\n\nThe controller keeps the source; if the \
        rules in force are not those of the source (or there is none), they are shown decompiled, and it says so. A \
        member shows what it enforces, each statement with its line in the network's source when the controller \
        tells it."
    )]
    Show {
        /// ID or name
        network: String,
        /// Beside each statement how many packets it decided, from the node here (which must be a member)
        #[arg(long)]
        counters: bool,
        /// Nothing but rules that can be compiled
        #[arg(long, conflicts_with = "counters")]
        source: bool,
    },
    /// Run a file of cases (who sends what to whom, and what is to become of it) against a rule file; needs no node
    #[command(
        after_help = "Examples:\n  ztnode-cli rules test my.rules my.cases\n  ztnode-cli rules test my.rules \
        my.cases --tap\n\nA case file:\n  member aws 62f865ae71 ip 10.0.1.1 tag department=sales\n  member gcp \
        5aca06ff8e ip 10.0.3.1\n  aws -> gcp tcp > 22 syn : drop by line 4\n  aws -> gcp icmp : accept\n\nExit code: \
        0 all as expected, 1 a case failed or the rules do not compile, 2 the case file is wrong.\nJSON (-j): \
        {\"passed\", \"failed\", \"cases\": [{line, case, ok, failure|null, sides}]}."
    )]
    Test {
        /// The rules
        file: PathBuf,
        /// The cases
        cases: PathBuf,
        /// Print in the Test Anything Protocol
        #[arg(long)]
        tap: bool,
    },
    /// Say what becomes of a packet, and which line of the rules decides it
    #[command(
        after_help = "Examples:\n  ztnode-cli rules explain demo.lab 'tcp 10.0.1.1:5000 > 10.0.3.1:80 syn'\n  \
        ztnode-cli rules explain demo.lab 'tcp @62f865ae71:5000 > @5aca06ff8e:80' -v\n  ztnode-cli rules explain \
        --rules my.rules 'icmp 10.0.1.1 > 10.0.3.1'\n  ztnode-cli rules explain --rules my.rules --cases my.cases \
        'udp aws > gcp:53'\n\nOn the controller's node members, tags and capabilities come from the controller; on \
        a member from what its node knows. What is not known is said."
    )]
    Explain(Explain),
    /// Show live what the rules do with packets on the node here, until Ctrl-C
    #[command(
        after_help = "Examples:\n  ztnode-cli rules trace demo.lab\n  ztnode-cli rules trace demo.lab --drops\n  \
        ztnode-cli rules trace demo.lab in host 10.0.3.1 port 80\n  ztnode-cli rules trace demo.lab --count 10 -j\n\nEach line: time, in or out, the other \
        node, the packet, the verdict, and line and text of the statement that decided.\nJSON (-j): one object a \
        line, as the node sends it (see docs/control-api.md), with \"packet\" and \"statement\" added."
    )]
    Trace(Trace),
}

/// `rules explain …`.
#[derive(Args, Debug)]
pub struct Explain {
    /// ID or name of the network (left out with --rules)
    #[arg(value_name = "NETWORK")]
    pub first: String,
    /// The packet in words: tcp 10.0.1.1:5000 > 10.0.3.1:80
    #[arg(value_name = "PACKET")]
    pub second: Option<String>,
    /// Take the rules from this file, without any node
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Take the members from this case file
    #[arg(long, value_name = "FILE", requires = "rules")]
    pub cases: Option<PathBuf>,
    /// Who sends it: address or name of a member [default: whose IP address it is]
    #[arg(long, value_name = "MEMBER")]
    pub from: Option<String>,
    /// Who is to get it [default: whose IP address it is]
    #[arg(long, value_name = "MEMBER")]
    pub to: Option<String>,
    /// Show what every match of every statement gave
    // Takes the place of the switch for the version, which has the same letter.
    #[arg(id = "version", short = 'v', long = "verbose")]
    pub verbose: bool,
}

/// `rules trace …`.
#[derive(Args, Debug)]
pub struct Trace {
    /// ID or name
    pub network: String,
    /// Most packets a second the node may send, before the filter
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// End after so many lines
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Only packets that are dropped
    #[arg(long)]
    pub drops: bool,
    /// Only packets of which all this is true: in | out | host IP, MAC or ADDRESS | port N
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}
