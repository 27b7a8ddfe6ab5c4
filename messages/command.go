package messages

import (
	"encoding/json"
	"time"
)

// Command is one inner command of a piggyback envelope, or the same operation out of the REST API, after
// ParseCommand has checked its members (contract piggyback.md 2.4). RequestID identifies the HTTP request (decision D7):
// every re-delivery carries the same one, and a modifying command is executed at most once per RequestID.
type Command struct {
	Type           string
	ConnectionID   string          // of commands to the shard region; of createConnection: the id of Connection
	Connection     *Connection     // create, modify, test
	SelectedFields *FieldSelector  // retrieveConnection; nil when absent
	Tag            string          // sudoRetrieveConnectionIdsByTag
	EntityType     string          // cleanupPersistence
	Members        json.RawMessage // the whole inner command as sent, for members that only its target reads (dryRun, config, path)
	Headers        Headers
	RequestID      string
	Received       time.Time
}

// Sudo reports whether the command takes the direct route to the entity: a sudo command, or header ditto-sudo true
// (contract piggyback.md 2.2).
func (c Command) Sudo() bool {
	return c.Headers[HeaderSudo] == "true" || Spec(c.Type).Sudo
}

// Category says what a command does to the entity.
type Category uint8

// The categories of contract piggyback.md 2.4.
const (
	CategoryQuery Category = iota
	CategoryCreate
	CategoryModify
	CategoryDelete
	CategoryAction
)

// Types of commands (contract piggyback.md 2.4).
const (
	CreateConnection               = "connectivity.commands:createConnection"
	ModifyConnection               = "connectivity.commands:modifyConnection"
	RetrieveConnection             = "connectivity.commands:retrieveConnection"
	RetrieveResolvedHonoConnection = "connectivity.commands:retrieveResolvedHonoConnection"
	SudoRetrieveConnectionTags     = "connectivity.sudo.commands:sudoRetrieveConnectionTags"
	OpenConnection                 = "connectivity.commands:openConnection"
	CloseConnection                = "connectivity.commands:closeConnection"
	DeleteConnection               = "connectivity.commands:deleteConnection"
	TestConnection                 = "connectivity.commands:testConnection"
	RetrieveAllConnectionIDs       = "connectivity.commands:retrieveAllConnectionIds"
	SudoRetrieveConnectionIDsByTag = "connectivity.sudo.commands:sudoRetrieveConnectionIdsByTag"
	RetrieveConnectionStatus       = "connectivity.commands:retrieveConnectionStatus"
	RetrieveConnectionMetrics      = "connectivity.commands:retrieveConnectionMetrics"
	ResetConnectionMetrics         = "connectivity.commands:resetConnectionMetrics"
	EnableConnectionLogs           = "connectivity.commands:enableConnectionLogs"
	RetrieveConnectionLogs         = "connectivity.commands:retrieveConnectionLogs"
	ResetConnectionLogs            = "connectivity.commands:resetConnectionLogs"
	MigrateEncryption              = "connectivity.commands:migrateEncryption"
	MigrateEncryptionStatus        = "connectivity.commands:migrateEncryptionStatus"
	MigrateEncryptionAbort         = "connectivity.commands:migrateEncryptionAbort"
	CleanupPersistence             = "cleanup.sudo.commands:cleanupPersistence"
	RetrieveHealth                 = "status.commands:retrieveHealth"
	RetrieveConfig                 = "common.commands:retrieveConfig"
	ModifyConfig                   = "common.commands:modifyConfig"
	PurgeEntities                  = "common.commands:purgeEntities"
)

// The selections a piggyback command can name (contract piggyback.md 2.1).
const (
	TargetConnection         = "/system/sharding/connection"
	TargetConnectionIDs      = "/user/connectivityRoot/connectionIdsRetrieval"
	TargetEncryption         = "/user/connectivityRoot/encryptionMigration"
	TargetPersistenceCleanup = "/user/connectivityRoot/persistenceCleanup"
	TargetHealth             = "/user/connectivityRoot/healthCheckingActor"
	TargetDevOps             = "/user/devOpsCommandsActor"
	TargetPubSub             = "/system/distributedPubSubMediator"
)

// CommandSpec is one row of the command table.
type CommandSpec struct {
	Type     string
	Category Category
	Sudo     bool // type prefix of a sudo command: direct route, header irrelevant
	Target   string
	Also     string // a second selection that takes it
}

// TakenBy reports whether the selection takes the command (decision D6).
func (s CommandSpec) TakenBy(target string) bool {
	return s.Type != "" && target != "" && (s.Target == target || s.Also == target)
}

// commandSpecs is contract piggyback.md 2.4 as data; the key is the type.
var commandSpecs = map[string]CommandSpec{}

func init() {
	for _, s := range []CommandSpec{
		{CreateConnection, CategoryCreate, false, TargetConnection, ""},
		{ModifyConnection, CategoryModify, false, TargetConnection, ""},
		{RetrieveConnection, CategoryQuery, false, TargetConnection, ""},
		{RetrieveResolvedHonoConnection, CategoryQuery, false, TargetConnection, ""},
		{SudoRetrieveConnectionTags, CategoryQuery, true, TargetConnection, ""},
		{OpenConnection, CategoryModify, false, TargetConnection, ""},
		{CloseConnection, CategoryModify, false, TargetConnection, ""},
		{DeleteConnection, CategoryDelete, false, TargetConnection, ""},
		{TestConnection, CategoryQuery, false, TargetConnection, ""},
		{RetrieveConnectionStatus, CategoryQuery, false, TargetConnection, ""},
		{RetrieveConnectionMetrics, CategoryQuery, false, TargetConnection, ""},
		{ResetConnectionMetrics, CategoryModify, false, TargetConnection, ""},
		{EnableConnectionLogs, CategoryModify, false, TargetConnection, ""},
		{RetrieveConnectionLogs, CategoryQuery, false, TargetConnection, ""},
		{ResetConnectionLogs, CategoryModify, false, TargetConnection, ""},
		{CleanupPersistence, CategoryModify, true, TargetConnection, ""},
		{RetrieveAllConnectionIDs, CategoryQuery, false, TargetConnectionIDs, ""},
		{SudoRetrieveConnectionIDsByTag, CategoryQuery, true, TargetConnectionIDs, ""},
		{MigrateEncryption, CategoryModify, false, TargetEncryption, ""},
		{MigrateEncryptionStatus, CategoryQuery, false, TargetEncryption, ""},
		{MigrateEncryptionAbort, CategoryModify, false, TargetEncryption, ""},
		{RetrieveHealth, CategoryQuery, false, TargetPersistenceCleanup, TargetHealth},
		{RetrieveConfig, CategoryQuery, false, TargetDevOps, TargetPersistenceCleanup},
		{ModifyConfig, CategoryModify, false, TargetPersistenceCleanup, ""},
		{PurgeEntities, CategoryModify, false, TargetPubSub, ""},
	} {
		commandSpecs[s.Type] = s
	}
}

// Spec returns the row of a command type; the zero CommandSpec when there is none.
func Spec(commandType string) CommandSpec { return commandSpecs[commandType] }
