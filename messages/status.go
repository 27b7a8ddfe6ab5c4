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

// MarshalJSON renders the entry; members without a value are omitted.
func (s ResourceStatus) MarshalJSON() ([]byte, error) { return s.AppendJSON(nil), nil }

// AppendJSON appends what MarshalJSON renders.
func (s ResourceStatus) AppendJSON(dst []byte) []byte {
	w := objectWriter{dst: dst}
	w.open()
	for _, m := range []struct{ name, value string }{
		{"type", string(s.Type)}, {"client", s.Client}, {"address", s.Address}, {"status", string(s.Status)},
		{"recoveryStatus", string(s.Recovery)}, {"statusDetails", s.Details},
	} {
		if m.value != "" {
			w.string(m.name, m.value)
		}
	}
	w.instant("inStateSince", s.Since)
	return w.close()
}
