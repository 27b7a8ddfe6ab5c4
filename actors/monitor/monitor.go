package monitor

// Metric is what happened to a message (runtime.md 12.1); also the log type of the same name.
type Metric uint8

// The metrics. Consumed, Enforced and Throttled are inbound only; Dispatched, Filtered and Published outbound only.
const (
	Consumed Metric = iota
	Mapped
	Dropped
	Enforced
	Acknowledged
	Throttled
	Dispatched
	Filtered
	Published
	Other
	numMetrics
)

// Entry is what a log entry says besides its category, type, level, address and time. Nothing in it is a secret
// (decision O6): authorization and credential headers are never appended.
type Entry struct {
	CorrelationID string
	EntityType    string // thing, policy, connection; with EntityID
	EntityID      string
	Message       string // "" takes the default text of the metric
	HeaderKeys    []string
}
