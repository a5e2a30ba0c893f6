//! Whether this machine is rented from a cloud, by what its firmware and cloud-init say.
//!
//! In a cloud a node is kind: it tries no private addresses that are not on one of its own links, since providers take such
//! probes for scans. The firmware's strings (SMBIOS, in `/sys/class/dmi/id`) are readable by everybody and need no network;
//! cloud-init leaves behind which data source it used.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

/// Longest file read, bytes.
const MAX_FILE: u64 = 4_096;

/// How kind to be (`settings.profile`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// As the machine is.
    #[default]
    Auto,
    /// As in a cloud.
    Cloud,
    /// As anywhere else.
    Plain,
}

/// The profile in force.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Profile {
    /// Whether it is the one for clouds.
    pub cloud: bool,
    /// Why, for people.
    pub reason: String,
}

impl Profile {
    /// The word tools see.
    pub fn name(&self) -> &'static str {
        if self.cloud { "cloud" } else { "plain" }
    }

    /// The profile for a wish, on the machine whose file system is at `root`.
    pub fn choose(wanted: Wanted, root: &Path) -> Self {
        match wanted {
            Wanted::Cloud => Profile { cloud: true, reason: "settings.profile".into() },
            Wanted::Plain => Profile { cloud: false, reason: "settings.profile".into() },
            Wanted::Auto => match detect(root) {
                Some(reason) => Profile { cloud: true, reason },
                None => Profile { cloud: false, reason: "no cloud recognized".into() },
            },
        }
    }
}

/// Where a text of the firmware names a cloud: file, how the text begins, name of the cloud.
const FIRMWARE: [(&str, &str, &str); 15] = [
    ("sys_vendor", "amazon ec2", "Amazon EC2"),
    ("bios_vendor", "amazon ec2", "Amazon EC2"),
    ("chassis_asset_tag", "amazon ec2", "Amazon EC2"),
    ("product_name", "google compute engine", "Google Compute Engine"),
    // The machines of other users of this hypervisor have the same vendor, but not the tag.
    ("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77", "Microsoft Azure"),
    ("sys_vendor", "digitalocean", "DigitalOcean"),
    ("chassis_asset_tag", "oraclecloud.com", "Oracle Cloud"),
    ("chassis_vendor", "ibm:cloud compute server", "IBM Cloud"),
    ("chassis_asset_tag", "ibmcloud", "IBM Cloud"),
    ("sys_vendor", "ibm:cloud compute server", "IBM Cloud"),
    ("sys_vendor", "vultr", "Vultr"),
    ("sys_vendor", "alibaba cloud", "Alibaba Cloud"),
    ("product_name", "alibaba cloud ecs", "Alibaba Cloud"),
    ("sys_vendor", "packet", "Equinix Metal"),
    ("sys_vendor", "equinix metal", "Equinix Metal"),
];

/// Data sources of cloud-init that say nothing about where the machine stands.
const NO_CLOUD: [&str; 9] =
    ["", "none", "nocloud", "configdrive", "config-drive", "lxd", "wsl", "ovf", "unknown"];

/// Why the machine whose file system is at `root` seems to be a cloud's; `None` = it does not.
pub fn detect(root: &Path) -> Option<String> {
    let firmware = root.join("sys/class/dmi/id");
    for (file, begins, name) in FIRMWARE {
        if read(&firmware.join(file)).starts_with(begins) {
            return Some(format!("{name} (firmware: {file})"));
        }
    }
    // EC2's older machines, whose hypervisor names itself only here.
    if read(&firmware.join("bios_version")).ends_with(".amazon") {
        return Some("Amazon EC2 (firmware: bios_version)".into());
    }
    let id = read(&root.join("run/cloud-init/cloud-id"));
    if !NO_CLOUD.contains(&id.as_str()) {
        return Some(format!("{id} (cloud-init: cloud-id)"));
    }
    // "DataSourceEc2: DataSourceEc2Local"
    let source = read(&root.join("var/lib/cloud/instance/datasource"));
    let class = source.split([':', ' ', '[']).next().unwrap_or_default();
    let name = class.strip_prefix("datasource").unwrap_or_default();
    (!NO_CLOUD.contains(&name)).then(|| format!("{name} (cloud-init: datasource)"))
}

/// A short text in lower case without white space around; empty if it cannot be read.
fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    // A file that is not there, or not ours to read, is as good as an empty one.
    let _ = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    let text: String =
        String::from_utf8_lossy(&bytes).chars().filter(|c| !c.is_control()).take(200).collect();
    text.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn machine(files: &[(&str, &str)]) -> Option<String> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
        detect(root.path())
    }

    #[test]
    fn the_nine_clouds_are_known_by_their_firmware_or_cloud_init() {
        const DMI: &str = "sys/class/dmi/id";
        for (file, text, name) in [
            ("sys_vendor", "Amazon EC2", "Amazon EC2"),
            ("bios_version", "4.11.amazon", "Amazon EC2"),
            ("product_name", "Google Compute Engine", "Google"),
            ("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77", "Azure"),
            ("sys_vendor", "DigitalOcean", "DigitalOcean"),
            ("chassis_asset_tag", "OracleCloud.com", "Oracle"),
            ("chassis_vendor", "IBM:Cloud Compute Server 1.0:bx2-2x8", "IBM"),
            ("chassis_asset_tag", "ibmcloud", "IBM"),
            ("sys_vendor", "Vultr", "Vultr"),
            ("sys_vendor", "Alibaba Cloud", "Alibaba"),
            ("product_name", "Alibaba Cloud ECS", "Alibaba"),
            ("sys_vendor", "Packet", "Equinix"),
        ] {
            let found = machine(&[(&format!("{DMI}/{file}"), text)]).unwrap_or_default();
            assert!(found.contains(name), "{file} {text}: {found}");
        }
        let metal =
            [("sys/class/dmi/id/sys_vendor", "Supermicro"), ("run/cloud-init/cloud-id", "equinix-metal")];
        assert_eq!(machine(&metal).unwrap(), "equinix-metal (cloud-init: cloud-id)");
        let old = [("var/lib/cloud/instance/datasource", "DataSourceEc2: DataSourceEc2Local")];
        assert_eq!(machine(&old).unwrap(), "ec2 (cloud-init: datasource)");
    }

    #[test]
    fn other_machines_are_none() {
        for files in [
            &[][..],
            &[("sys/class/dmi/id/sys_vendor", "QEMU"), ("run/cloud-init/cloud-id", "nocloud")],
            &[
                ("sys/class/dmi/id/sys_vendor", "Microsoft Corporation"),
                ("sys/class/dmi/id/chassis_asset_tag", "None"),
            ],
            &[("var/lib/cloud/instance/datasource", "DataSourceNoCloud: DataSourceNoCloud [seed=/dev/sr0]")],
            &[("sys/class/dmi/id/sys_vendor", "Dell Inc."), ("run/cloud-init/cloud-id", "none")],
        ] {
            assert_eq!(machine(files), None, "{files:?}");
        }
    }

    #[test]
    fn the_user_has_the_last_word() {
        let root = tempfile::tempdir().unwrap();
        assert!(Profile::choose(Wanted::Cloud, root.path()).cloud);
        assert!(!Profile::choose(Wanted::Auto, root.path()).cloud);
        fs::create_dir_all(root.path().join("sys/class/dmi/id")).unwrap();
        fs::write(root.path().join("sys/class/dmi/id/sys_vendor"), "Vultr\n").unwrap();
        assert!(Profile::choose(Wanted::Auto, root.path()).cloud);
        assert!(!Profile::choose(Wanted::Plain, root.path()).cloud);
    }
}
