package messages

import "time"

// ResourceType is the kind of a resource in a status answer (contract piggyback.md 4.11).
type ResourceType string

// The resource types.
const (
	ResourceClient ResourceType = "client"
	ResourceSource ResourceType = "source"
	ResourceTarget ResourceType = "target"
	ResourceSSH    ResourceType = "ssh"
)

// RecoveryStatus says how a failed client comes back.
type RecoveryStatus string

// The recovery values.
const (
	RecoveryOngoing             RecoveryStatus = "ongoing"
	RecoverySucceeded           RecoveryStatus = "succeeded"
	RecoveryBackOffLimitReached RecoveryStatus = "backOffLimitReached"
	RecoveryUnknown             RecoveryStatus = "unknown"
)

// ResourceStatus is one entry of clientStatus, sourceStatus, targetStatus or sshTunnelStatus. Zero members are omitted
// on output: Address only for source and target, Recovery only for clients.
type ResourceStatus struct {
	Type     ResourceType
	Client   string // instance id
	Address  string
	Status   ConnectivityStatus
	Recovery RecoveryStatus
	Details  string
	Since    time.Time
}
