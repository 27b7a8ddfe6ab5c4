package messages

import "encoding/json"

// commandReader reads the members of one kind of command into c.
type commandReader func(r *jsonReader, c *Command)

// commandReaders says what each accepted command type carries (piggyback.md 2.4). A type that is not here is not accepted
// from outside (decision D12).
var commandReaders = map[string]commandReader{
	CreateConnection:               readConnectionMember(false),
	ModifyConnection:               readConnectionMember(true),
	TestConnection:                 readConnectionMember(true),
	RetrieveConnection:             readSelectedFields,
	RetrieveResolvedHonoConnection: readSelectedFields,
	SudoRetrieveConnectionTags:     readConnectionID,
	OpenConnection:                 readConnectionID,
	CloseConnection:                readConnectionID,
	DeleteConnection:               readConnectionID,
	RetrieveConnectionStatus:       readConnectionID,
	RetrieveConnectionMetrics:      readConnectionID,
	ResetConnectionMetrics:         readConnectionID,
	EnableConnectionLogs:           readConnectionID,
	RetrieveConnectionLogs:         readConnectionID,
	ResetConnectionLogs:            readConnectionID,
	CleanupPersistence:             readEntity,
	RetrieveAllConnectionIDs:       func(*jsonReader, *Command) {},
	SudoRetrieveConnectionIDsByTag: func(r *jsonReader, c *Command) { c.Tag = r.required("tag") },
	MigrateEncryption:              func(r *jsonReader, _ *Command) { r.boolean("dryRun", false); r.boolean("resume", false) },
	MigrateEncryptionStatus:        func(*jsonReader, *Command) {},
	MigrateEncryptionAbort:         func(*jsonReader, *Command) {},
	RetrieveHealth:                 func(*jsonReader, *Command) {},
	RetrieveConfig:                 func(r *jsonReader, _ *Command) { r.string("path") },
	ModifyConfig: func(r *jsonReader, _ *Command) {
		if !r.object("config", func(*jsonReader) {}) {
			r.missing("config")
		}
	},
	PurgeEntities: func(r *jsonReader, c *Command) {
		c.EntityType = r.required("entityType")
		if _, ok := r.lookup("entityIds"); !ok {
			r.missing("entityIds")
		}
		r.strict("entityIds")
	},
}

// ParseCommand checks the inner command of a piggyback envelope and reads its members. The error is an *Error for an E2
// (piggyback.md 1.8): json.invalid, json.type.notparsable for a missing, unknown or refused type, command.headers.invalid
// for a query with response-required false, then what is wrong with the members.
//
// ConnectionID is set for every command to the shard region, with one exception: a createConnection without id leaves it
// and Connection.ID empty, and the caller generates one (decision D8). RequestID and Received are the caller's, too.
func ParseCommand(members json.RawMessage, headers Headers) (Command, error) {
	if !ValidJSON(members) {
		return Command{}, NewJSONInvalid("The piggyback command is not JSON.")
	}
	return ParseValidCommand(members, headers)
}

// ParseValidCommand is ParseCommand for members that ValidJSON has accepted, or that are a value inside of what it has.
func ParseValidCommand(members json.RawMessage, headers Headers) (Command, error) {
	v := walkJSON(members)
	if v.kind != jsonObject {
		return Command{}, NewJSONFormatInvalid()
	}
	r := &jsonReader{jsonValue: v}
	c := Command{Members: members, Headers: headers}
	c.Type, _ = r.string("type")
	if r.err != nil {
		return Command{}, r.err
	}
	read, ok := commandReaders[c.Type]
	if !ok {
		return Command{}, NewNotParsable(shorten(c.Type))
	}
	if Spec(c.Type).Category == CategoryQuery && headers.Get(HeaderResponseRequired) == "false" {
		return Command{}, NewCommandHeadersInvalid()
	}
	read(r, &c)
	if r.err != nil {
		return Command{}, r.err
	}
	return c, nil
}

func readConnectionMember(needID bool) commandReader {
	return func(r *jsonReader, c *Command) {
		v, ok := r.lookup("connection")
		switch {
		case !ok:
			r.missing("connection")
		case v.kind != jsonObject:
			r.wrongType("connection", v, "JsonObject")
		default:
			conn, err := readConnection(v, needID, sent)
			if err != nil {
				r.fail(err)
				return
			}
			c.Connection, c.ConnectionID = conn, conn.ID
		}
	}
}

func readID(r *jsonReader, name string) string {
	id, ok := r.string(name)
	switch {
	case !ok:
		r.missing(name)
	case !ValidID(id):
		r.fail(NewIDInvalid(id).About("/" + name))
	}
	return id
}

func readConnectionID(r *jsonReader, c *Command) { c.ConnectionID = readID(r, "connectionId") }

func readSelectedFields(r *jsonReader, c *Command) {
	readConnectionID(r, c)
	if text, ok := r.string("selectedFields"); ok {
		fields, err := ParseFieldSelector(text)
		r.fail(within("/selectedFields", err))
		c.SelectedFields = fields
	}
}

func readEntity(r *jsonReader, c *Command) {
	c.EntityType = r.required("entityType")
	c.ConnectionID = readID(r, "entityId")
}
