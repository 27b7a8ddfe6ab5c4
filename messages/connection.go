package messages

import (
	"encoding/json"
	"time"
)

// ConnectionType is the protocol of a connection (contract connection-model.md 2).
type ConnectionType string

// The connection types; case-sensitive.
const (
	TypeAMQP091  ConnectionType = "amqp-091"
	TypeAMQP10   ConnectionType = "amqp-10"
	TypeMQTT     ConnectionType = "mqtt"
	TypeMQTT5    ConnectionType = "mqtt-5"
	TypeKafka    ConnectionType = "kafka"
	TypeHTTPPush ConnectionType = "http-push"
	TypeHono     ConnectionType = "hono"
)

// ConnectivityStatus is the stored (desired) or live status of a connection or of one of its resources.
type ConnectivityStatus string

// The status values (contract piggyback.md 4.11). Only StatusOpen starts clients.
const (
	StatusOpen          ConnectivityStatus = "open"
	StatusClosed        ConnectivityStatus = "closed"
	StatusFailed        ConnectivityStatus = "failed"
	StatusMisconfigured ConnectivityStatus = "misconfigured"
	StatusUnknown       ConnectivityStatus = "unknown"
)

// Lifecycle is the hidden member __lifecycle.
type Lifecycle string

// The lifecycle values.
const (
	LifecycleActive  Lifecycle = "ACTIVE"
	LifecycleDeleted Lifecycle = "DELETED"
)

// Connection is the connection of contract connection-model.md 2. A parsed Connection is complete (defaults applied,
// legacy forms migrated) and must be treated as immutable; change a Clone.
type Connection struct {
	ID                   string
	Name                 *string // nil renders as null
	Type                 ConnectionType
	Status               ConnectivityStatus
	URI                  URI
	Sources              []Source
	Targets              []Target
	ClientCount          int
	FailoverEnabled      bool
	ValidateCertificates bool
	ProcessorPoolSize    int
	SpecificConfig       map[string]string
	MappingDefinitions   map[string]MappingDefinition
	Credentials          *Credentials
	CA                   string // PEM bundle, "" when absent
	SSHTunnel            *SSHTunnel
	Tags                 []string

	// Hidden members, set by the server only.
	Lifecycle Lifecycle
	Revision  int64 // sequence number of the last create or modify, 0 when never stored
	Modified  time.Time
	Created   time.Time
}

// URI is a connection URI as it was sent (non-ASCII characters percent-encoded); its String masks the password
// (decision O6). Raw is for the API answer, the journal and the dial only.
type URI struct {
	Raw      string
	Scheme   string
	Host     string // without brackets
	Port     int
	Path     string // decoded
	User     string // decoded; valid when HasUserInfo
	Password string // decoded; valid when HasUserInfo
	// HasUserInfo is true when the user info holds a colon: only then there are credentials (connection-model.md 8).
	HasUserInfo bool
}

// Source is contract connection-model.md 3.
type Source struct {
	Addresses              []string
	ConsumerCount          int
	QoS                    *int
	AuthorizationContext   []string
	Enforcement            *Enforcement
	AcknowledgementRequest *AcknowledgementRequests
	DeclaredAcks           []string
	HeaderMapping          map[string]string
	PayloadMapping         []string
	ReplyTarget            ReplyTarget
}

// Enforcement is a source's id enforcement.
type Enforcement struct {
	Input   string
	Filters []string
}

// AcknowledgementRequests is a source's member acknowledgementRequests; Filter nil when absent.
type AcknowledgementRequests struct {
	Includes []string
	Filter   *string
}

// ReplyTarget is where responses to a source's messages go. Address nil means that only Enabled is kept and rendered.
type ReplyTarget struct {
	Enabled               bool
	Address               *string
	HeaderMapping         map[string]string
	ExpectedResponseTypes []string // lower case: response, error, nack
}

// Target is contract connection-model.md 4.
type Target struct {
	Address                    string
	Topics                     []FilteredTopic
	QoS                        *int
	AuthorizationContext       []string
	IssuedAcknowledgementLabel string // "" when absent
	HeaderMapping              map[string]string
	PayloadMapping             []string
}

// Topic names of a target (connection-model.md 12); also the streaming type a signal is published under (runtime.md 6.1).
type TopicName string

// The six topics.
const (
	TopicTwinEvents              TopicName = "_/_/things/twin/events"
	TopicLiveMessages            TopicName = "_/_/things/live/messages"
	TopicLiveEvents              TopicName = "_/_/things/live/events"
	TopicLiveCommands            TopicName = "_/_/things/live/commands"
	TopicPolicyAnnouncements     TopicName = "_/_/policies/announcements"
	TopicConnectionAnnouncements TopicName = "_/_/connections/announcements"
)

// FilteredTopic is one topic of a target with its decoded arguments; String renders the canonical form.
type FilteredTopic struct {
	Name        TopicName
	Namespaces  []string
	Filter      string // RQL, "" when absent
	ExtraFields string // selector, "" when absent
}

// MappingDefinition is one entry of mappingDefinitions. Options is the object exactly as sent (may be null).
type MappingDefinition struct {
	Engine             string
	Options            json.RawMessage
	IncomingConditions map[string]string
	OutgoingConditions map[string]string
}

// The types of credentials.
const (
	CredentialsClientCert    = "client-cert"
	CredentialsPlain         = "plain"
	CredentialsPublicKey     = "public-key"
	CredentialsHMAC          = "hmac"
	CredentialsOAuthClient   = "oauth-client-credentials"
	CredentialsOAuthPassword = "oauth-password"
)

// Credentials are contract connection-model.md 6; which members are set depends on Type. Optional members that were
// absent are nil and render as null where section 6 says so. Never log one.
type Credentials struct {
	Type string // one of the Credentials… constants

	Cert, Key               *string         // client-cert
	Username, Password      string          // plain, oauth-password; Username also public-key
	PublicKey, PrivateKey   string          // public-key
	Algorithm               string          // hmac
	Parameters              json.RawMessage // hmac, an object, kept as sent
	TokenEndpoint, ClientID string          // oauth-*
	ClientSecret            *string         // required for oauth-client-credentials, optional for oauth-password
	RequestedScopes         string          // oauth-*
	Audience                *string         // oauth-*
}

// SSHTunnel is contract connection-model.md 7.
type SSHTunnel struct {
	Enabled      bool
	URI          string
	Credentials  Credentials
	ValidateHost bool
	KnownHosts   []string
}
