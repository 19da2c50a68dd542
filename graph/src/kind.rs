//! The closed list of kinds of component, each with its default class and its prior.

use std::fmt;

/// What a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Who runs the ground it all stands on.
    Provider,
    /// A provider's region.
    Region,
    /// An availability zone.
    Zone,
    /// A datacenter.
    Datacenter,
    /// A building of a datacenter.
    Building,
    /// A room.
    Room,
    /// A rack.
    Rack,
    /// A circuit that power comes in by.
    PowerFeed,
    /// A generator.
    Generator,
    /// An uninterruptible power supply.
    Ups,
    /// A power distribution unit.
    Pdu,
    /// A power supply of a machine.
    Psu,
    /// What keeps a room or a rack cool.
    Cooling,
    /// A machine's own out-of-band controller.
    Bmc,
    /// A machine that an agent may run on.
    Host,
    /// A virtual machine.
    Vm,
    /// A file system or block device.
    Volume,
    /// A network as a whole.
    Network,
    /// A switch.
    Switch,
    /// A router.
    Router,
    /// A cable or a leased line.
    Link,
    /// A session between two BGP speakers.
    BgpSession,
    /// A DHCP server.
    DhcpServer,
    /// The lease of one host.
    DhcpLease,
    /// What a host sends what is not local to.
    Gateway,
    /// An authoritative name server or zone.
    Dns,
    /// A name server that others ask for everything.
    Resolver,
    /// A time source.
    Ntp,
    /// One member of an etcd cluster.
    EtcdMember,
    /// An etcd cluster as a whole.
    EtcdCluster,
    /// A message broker or a queue in it.
    Queue,
    /// A database server.
    Database,
    /// A cache.
    Cache,
    /// An object store.
    ObjectStore,
    /// A load balancer.
    LoadBalancer,
    /// What places and starts workloads.
    Orchestrator,
    /// A Kubernetes control plane or node.
    Kubernetes,
    /// A mail server.
    Mail,
    /// A system service.
    Service,
    /// A workload of a user.
    App,
    /// A copy of something.
    Backup,
    /// A certificate.
    Certificate,
    /// A way in for people: VPN, bastion.
    Access,
    /// Blackstart's agent on a host.
    Agent,
    /// A Blackstart aggregator.
    Aggregator,
    /// A set with needs and nothing else.
    Group,
    /// Anything outside that is needed.
    External,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 47] = [
        Self::Provider,
        Self::Region,
        Self::Zone,
        Self::Datacenter,
        Self::Building,
        Self::Room,
        Self::Rack,
        Self::PowerFeed,
        Self::Generator,
        Self::Ups,
        Self::Pdu,
        Self::Psu,
        Self::Cooling,
        Self::Bmc,
        Self::Host,
        Self::Vm,
        Self::Volume,
        Self::Network,
        Self::Switch,
        Self::Router,
        Self::Link,
        Self::BgpSession,
        Self::DhcpServer,
        Self::DhcpLease,
        Self::Gateway,
        Self::Dns,
        Self::Resolver,
        Self::Ntp,
        Self::EtcdMember,
        Self::EtcdCluster,
        Self::Queue,
        Self::Database,
        Self::Cache,
        Self::ObjectStore,
        Self::LoadBalancer,
        Self::Orchestrator,
        Self::Kubernetes,
        Self::Mail,
        Self::Service,
        Self::App,
        Self::Backup,
        Self::Certificate,
        Self::Access,
        Self::Agent,
        Self::Aggregator,
        Self::Group,
        Self::External,
    ];

    /// Its name in a topology file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Region => "region",
            Self::Zone => "zone",
            Self::Datacenter => "datacenter",
            Self::Building => "building",
            Self::Room => "room",
            Self::Rack => "rack",
            Self::PowerFeed => "power-feed",
            Self::Generator => "generator",
            Self::Ups => "ups",
            Self::Pdu => "pdu",
            Self::Psu => "psu",
            Self::Cooling => "cooling",
            Self::Bmc => "bmc",
            Self::Host => "host",
            Self::Vm => "vm",
            Self::Volume => "volume",
            Self::Network => "network",
            Self::Switch => "switch",
            Self::Router => "router",
            Self::Link => "link",
            Self::BgpSession => "bgp-session",
            Self::DhcpServer => "dhcp-server",
            Self::DhcpLease => "dhcp-lease",
            Self::Gateway => "gateway",
            Self::Dns => "dns",
            Self::Resolver => "resolver",
            Self::Ntp => "ntp",
            Self::EtcdMember => "etcd-member",
            Self::EtcdCluster => "etcd-cluster",
            Self::Queue => "queue",
            Self::Database => "database",
            Self::Cache => "cache",
            Self::ObjectStore => "object-store",
            Self::LoadBalancer => "load-balancer",
            Self::Orchestrator => "orchestrator",
            Self::Kubernetes => "kubernetes",
            Self::Mail => "mail",
            Self::Service => "service",
            Self::App => "app",
            Self::Backup => "backup",
            Self::Certificate => "certificate",
            Self::Access => "access",
            Self::Agent => "agent",
            Self::Aggregator => "aggregator",
            Self::Group => "group",
            Self::External => "external",
        }
    }

    /// The class that it is counted in for recovery unless the file says another.
    #[must_use]
    pub const fn default_class(self) -> &'static str {
        match self {
            Self::Provider => "providers",
            Self::Region => "regions",
            Self::Zone => "zones",
            Self::Datacenter => "datacenters",
            Self::Building => "buildings",
            Self::Room => "rooms",
            Self::Rack => "racks",
            Self::PowerFeed => "power feeds",
            Self::Generator => "generators",
            Self::Ups => "UPSs",
            Self::Pdu => "PDUs",
            Self::Psu => "PSUs",
            Self::Cooling => "cooling",
            Self::Bmc => "BMCs",
            Self::Host => "hosts",
            Self::Vm => "VMs",
            Self::Volume => "volumes",
            Self::Network => "networks",
            Self::Switch => "switches",
            Self::Router => "routers",
            Self::Link => "links",
            Self::BgpSession => "BGP sessions",
            Self::DhcpServer => "DHCP servers",
            Self::DhcpLease => "DHCP leases",
            Self::Gateway => "gateways",
            Self::Dns => "name servers",
            Self::Resolver => "resolvers",
            Self::Ntp => "time sources",
            Self::EtcdMember => "etcd members",
            Self::EtcdCluster => "etcd clusters",
            Self::Queue => "queues",
            Self::Database => "databases",
            Self::Cache => "caches",
            Self::ObjectStore => "object stores",
            Self::LoadBalancer => "load balancers",
            Self::Orchestrator => "orchestrators",
            Self::Kubernetes => "Kubernetes",
            Self::Mail => "mail",
            Self::Service => "services",
            Self::App => "apps",
            Self::Backup => "backups",
            Self::Certificate => "certificates",
            Self::Access => "access",
            Self::Agent => "agents",
            Self::Aggregator => "aggregators",
            Self::Group => "groups",
            Self::External => "external",
        }
    }

    /// Faults of its own that one is expected to have in a year, before anything is known of it: a rough order of size, from the
    /// published outages that this project starts from. 0 for a group, which is never a cause.
    #[must_use]
    pub const fn prior_faults_per_year(self) -> f64 {
        match self {
            Self::Group => 0.0,
            Self::Building | Self::Room | Self::Pdu | Self::Psu => 0.05,
            Self::Rack | Self::Generator | Self::Ups | Self::Cooling | Self::Bmc => 0.1,
            Self::Provider | Self::Datacenter | Self::PowerFeed | Self::Switch | Self::Ntp => 0.2,
            Self::Region
            | Self::Volume
            | Self::Router
            | Self::DhcpServer
            | Self::DhcpLease
            | Self::Gateway => 0.3,
            Self::Zone | Self::Host | Self::Vm | Self::Link | Self::Dns | Self::Resolver => 0.5,
            Self::Network
            | Self::BgpSession
            | Self::EtcdMember
            | Self::EtcdCluster
            | Self::Queue
            | Self::Database
            | Self::Cache
            | Self::ObjectStore
            | Self::LoadBalancer
            | Self::Orchestrator
            | Self::Kubernetes
            | Self::Mail
            | Self::Service
            | Self::App
            | Self::Backup
            | Self::Certificate
            | Self::Access
            | Self::Agent
            | Self::Aggregator
            | Self::External => 1.0,
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
