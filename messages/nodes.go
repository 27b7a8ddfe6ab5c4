package messages

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// Commands that no envelope carries: /devops/logging has them answered by every node (contract piggyback.md 1.9).
const (
	RetrieveLoggerConfig = "devops.commands:retrieveLoggerConfig"
	ChangeLogLevel       = "devops.commands:changeLogLevel"
)

// TargetLogging is what takes them. It is not among the selections that an envelope can name (decision D4).
const TargetLogging = "/user/devOpsCommandsActor/logging"

// ErrInstanceNotFound: no live member has that instance id (decision D5).
var ErrInstanceNotFound = errors.New("messages: instance not found")

// NodeCommand builds a command for a target that every node has; members is its JSON object, type included.
func NodeCommand(commandType string, members json.RawMessage, headers Headers) Command {
	return Command{Type: commandType, Members: members, Headers: headers}
}

// ConfigReply answers retrieveConfig and modifyConfig: the value of document at a dotted path, all of it without path. A
// path that leads nowhere is answered 200, too (contract piggyback.md 1.9, operations.md 2.2).
func ConfigReply(commandType string, document json.RawMessage, path string) Reply {
	value := document
	for name := range strings.SplitSeq(path, ".") {
		if path == "" {
			break
		}
		var members map[string]json.RawMessage
		if json.Unmarshal(value, &members) != nil || members[name] == nil {
			value = json.RawMessage(`{"error":` + string(AppendJSONString(nil, "No configuration setting found for path "+shorten(path)+".")) + `}`)
			break
		}
		value = members[name]
	}
	return reply(ResponseType(commandType), 200, func(w *objectWriter) { w.raw("config", value) })
}

// ConfigPath is the optional member path of a retrieveConfig.
func (c Command) ConfigPath() string {
	var members struct {
		Path string `json:"path"`
	}
	_ = json.Unmarshal(c.Members, &members) // ParseCommand has checked it
	return members.Path
}

// HealthReply answers retrieveHealth in the form of persistenceCleanup (contract piggyback.md 4.18).
func HealthReply(statusInfo json.RawMessage) Reply {
	return reply(ResponseType(RetrieveHealth), 200, func(w *objectWriter) { w.raw("statusInfo", statusInfo) })
}

// PurgedReply answers purgeEntities (contract operations.md 3).
func PurgedReply(entityType string, successful bool) Reply {
	status := 200
	if !successful {
		status = 500
	}
	return reply(ResponseType(PurgeEntities), status, func(w *objectWriter) {
		w.string("entityType", entityType)
		w.boolean("successful", successful)
	})
}

// LoggerConfig is the level of one logger.
type LoggerConfig struct {
	Level  string `json:"level"`
	Logger string `json:"logger"`
}

// LoggersReply answers retrieveLoggerConfig.
func LoggersReply(service, instance string, loggers []LoggerConfig) Reply {
	return reply(ResponseType(RetrieveLoggerConfig), 200, func(w *objectWriter) {
		w.string("serviceName", service)
		w.string("instance", instance)
		w.key("loggerConfigs")
		w.dst = appendArray(w.dst, loggers, func(dst []byte, l *LoggerConfig) []byte {
			one := objectWriter{dst: dst}
			one.open()
			one.string("level", l.Level)
			one.string("logger", l.Logger)
			return one.close()
		})
	})
}

// LevelReply answers changeLogLevel.
func LevelReply(service, instance string, successful bool) Reply {
	status := 200
	if !successful {
		status = 500
	}
	return reply(ResponseType(ChangeLogLevel), status, func(w *objectWriter) {
		w.string("serviceName", service)
		w.string("instance", instance)
		w.boolean("successful", successful)
	})
}

// PurgeIDs are the connection ids of a purgeEntities; an error says which member is wrong.
func (c Command) PurgeIDs() ([]string, *Error) {
	var members struct {
		IDs json.RawMessage `json:"entityIds"`
	}
	_ = json.Unmarshal(c.Members, &members) // ParseCommand has checked that it is there
	var ids []string
	if json.Unmarshal(members.IDs, &ids) != nil || bytes.Equal(bytes.TrimSpace(members.IDs), []byte("null")) {
		return nil, NewWrongType("/entityIds", "*****", "JsonArray")
	}
	for _, id := range ids {
		if !ValidID(id) {
			return nil, NewIDInvalid(id)
		}
	}
	return ids, nil
}
