package messages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	connectionTypes = []ConnectionType{TypeAMQP091, TypeAMQP10, TypeMQTT, TypeMQTT5, TypeKafka, TypeHTTPPush, TypeHono}
	statuses        = []ConnectivityStatus{StatusOpen, StatusClosed, StatusFailed, StatusMisconfigured, StatusUnknown}
)

// ParseConnection reads a connection as a client sends it (connection-model.md 1–12, rules B1–B9 of 14.1): defaults are applied, legacy forms migrated, the first failure in the order of section 1 is the error, an
// *Error without a secret. A missing id leaves ID empty; whether that is allowed is the caller's business (decision D8).
func ParseConnection(text []byte) (*Connection, error) {
	v, err := parseJSON(text)
	if err != nil {
		return nil, NewJSONInvalid("The connection is not JSON.")
	}
	if v.kind != jsonObject {
		return nil, NewJSONInvalid("The connection is not a JSON object.")
	}
	return readConnection(v, false, sent)
}

// readConnection reads a connection; needID makes a missing id an error, in its place in the order of checks.
func readConnection(v jsonValue, needID bool, from origin) (*Connection, error) {
	if at, bad := v.unstorable(""); bad {
		return nil, NewJSONInvalid("The text at <" + at + "> holds U+0000 or half of a surrogate pair, which cannot be stored.")
	}
	r := &jsonReader{jsonValue: v}
	c := &Connection{}
	c.Type = readEnum(r, "connectionType", "Connection type", connectionTypes)
	legacy := readMappingContext(r)
	c.MappingDefinitions = readMappingDefinitions(r)
	if legacy != nil {
		if c.MappingDefinitions == nil {
			c.MappingDefinitions = make(map[string]MappingDefinition, 1)
		}
		c.MappingDefinitions[legacyMapper] = *legacy
	}
	if id, ok := r.string("id"); ok {
		if c.ID = id; !ValidID(id) {
			r.fail(NewIDInvalid(id).About("/id"))
		}
	} else if needID {
		r.missing("id")
	}
	c.Status = readEnum(r, "connectionStatus", "Connection status", statuses)
	uri, ok := r.string("uri")
	if !ok && c.Type != TypeHono {
		r.missing("uri")
	}
	var subjects []string // of the connection as a whole, in stored ones
	if from == stored {
		subjects = readSubjects(r)
	}
	readElements(r, "sources", func(r *jsonReader) {
		s := readSource(r, c.Type)
		if from == stored {
			migrateSource(r, &s, subjects)
		}
		s.PayloadMapping = withLegacyMapper(s.PayloadMapping, legacy)
		c.Sources = append(c.Sources, s)
	})
	readElements(r, "targets", func(r *jsonReader) {
		t := readTarget(r)
		if from == stored {
			migrateTarget(r, &t, c.Type, subjects)
		}
		t.PayloadMapping = withLegacyMapper(t.PayloadMapping, legacy)
		c.Targets = append(c.Targets, t)
	})
	c.Name = r.optional("name")
	c.SpecificConfig = r.textMap("specificConfig")
	c.Tags = nonNil(r.lenientSet("tags"))
	readHidden(r, c)
	r.object("credentials", func(r *jsonReader) {
		credentials := readCredentials(r)
		c.Credentials = &credentials
	})
	c.ClientCount = r.positive("clientCount")
	c.FailoverEnabled = r.boolean("failoverEnabled", true)
	c.ValidateCertificates = r.boolean("validateCertificates", true)
	c.ProcessorPoolSize = r.positive("processorPoolSize")
	if ca, _ := r.string("ca"); strings.TrimSpace(ca) != "" {
		c.CA = ca
	}
	r.object("sshTunnel", func(r *jsonReader) { c.SSHTunnel = readTunnel(r) })
	if r.err != nil {
		return nil, r.err
	}
	if err := structure(c); err != nil {
		return nil, err
	}
	var err error
	if c.URI, err = ParseURI(uri); err != nil {
		return nil, within("/uri", err)
	}
	return c, nil
}

// readEnum reads a required string that has to be one of allowed.
func readEnum[T ~string](r *jsonReader, name, what string, allowed []T) T {
	value := T(r.required(name))
	if r.err == nil && !slices.Contains(allowed, value) {
		r.fail(NewJSONInvalid(fmt.Sprintf("%s <%s> of </%s> is invalid, it has to be one of %v.", what, shorten(string(value)), name, allowed)))
	}
	return value
}

// readElements reads the objects of an array; null is an empty object, anything else is dropped (G14).
func readElements(r *jsonReader, name string, read func(*jsonReader)) {
	for i, e := range r.array(name) {
		if e.value.kind == jsonObject || e.value.kind == jsonNull {
			r.inside("/"+name+"/"+strconv.Itoa(i), e.value, read)
		}
		if r.err != nil {
			return
		}
	}
}

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// readHidden type-checks the hidden members; the server overwrites them (connection-model.md 2).
func readHidden(r *jsonReader, c *Connection) {
	if text, ok := r.string("__lifecycle"); ok && (text == string(LifecycleActive) || text == string(LifecycleDeleted)) {
		c.Lifecycle = Lifecycle(text)
	}
	if v, ok := r.lookup("_revision"); ok {
		n, err := strconv.ParseInt(string(v.raw), 10, 64)
		if v.kind != jsonNumber || err != nil {
			r.wrongType("_revision", v, "long")
		}
		c.Revision = n
	}
	for _, m := range []struct {
		name string
		into *time.Time
	}{{"_modified", &c.Modified}, {"_created", &c.Created}} {
		text, ok := r.string(m.name)
		if !ok {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			r.fail(NewWrongType("/"+m.name, shorten(text), "instant"))
		}
		*m.into = at.UTC()
	}
}

// structure checks B1 to B3.
func structure(c *Connection) error {
	if len(c.Sources) == 0 && len(c.Targets) == 0 {
		return NewConfigurationInvalid("The connection has no sources and no targets.", "A connection needs at least one source or target.").About("/sources")
	}
	var bare []string
	place := "" // of the first
	note := func(at string, addresses ...string) {
		if place == "" && len(addresses) > 0 {
			place = at + "/authorizationContext"
		}
		bare = append(bare, addresses...)
	}
	for i, s := range c.Sources {
		if len(s.AuthorizationContext) == 0 {
			note("/sources/"+strconv.Itoa(i), s.Addresses...)
		}
	}
	announces := false
	missing := len(bare) > 0
	for i, t := range c.Targets {
		if len(t.AuthorizationContext) == 0 {
			missing = true
			note("/targets/"+strconv.Itoa(i), t.Address)
		}
		announces = announces || slices.ContainsFunc(t.Topics, func(t FilteredTopic) bool { return t.Name == TopicConnectionAnnouncements })
	}
	if missing {
		return NewConfigurationInvalid(
			fmt.Sprintf("The authorization context of these sources and targets is missing or empty: %s.", shorten(strings.Join(bare, ", "))),
			"Give each source and target an authorizationContext of at least one subject.").About(place)
	}
	if c.ClientCount > 1 && announces {
		return NewConfigurationInvalid(
			fmt.Sprintf("Connection announcements (topic %s) need client count 1.", TopicConnectionAnnouncements), "").About("/clientCount")
	}
	return nil
}

// legacyMapper is the id that the member mappingContext becomes (connection-model.md 10.1).
const legacyMapper = "javascript"

func withLegacyMapper(ids []string, legacy *MappingDefinition) []string {
	if legacy == nil {
		return ids
	}
	return append(ids, legacyMapper)
}

// readMappingContext reads the deprecated member mappingContext; null is an empty object (G4).
func readMappingContext(r *jsonReader) (d *MappingDefinition) {
	v, ok := r.get("mappingContext")
	switch {
	case r.err != nil || !ok:
		return nil
	case v.kind != jsonObject && v.kind != jsonNull:
		r.wrongType("mappingContext", v, "JsonObject")
		return nil
	}
	r.inside("/mappingContext", v, func(r *jsonReader) {
		definition := readMappingDefinition(r)
		d = &definition
	})
	return d
}

func readMappingDefinitions(r *jsonReader) map[string]MappingDefinition {
	var out map[string]MappingDefinition
	r.object("mappingDefinitions", func(r *jsonReader) {
		for i, m := range r.inner {
			if m.value.kind != jsonObject && m.value.kind != jsonNull || r.repeated(i) {
				continue
			}
			r.inside("/"+string(m.name), m.value, func(r *jsonReader) {
				if out == nil {
					out = make(map[string]MappingDefinition)
				}
				out[string(m.name)] = readMappingDefinition(r)
			})
		}
	})
	return out
}

// readMappingDefinition: options null is accepted and stays null (G4).
func readMappingDefinition(r *jsonReader) (d MappingDefinition) {
	d.Engine = r.required("mappingEngine")
	options, ok := r.get("options")
	switch {
	case !ok:
		r.missing("options")
	case options.kind != jsonObject && options.kind != jsonNull:
		r.wrongType("options", options, "JsonObject")
	default:
		d.Options = compact(options.raw)
	}
	d.IncomingConditions = r.textMap("incomingConditions")
	d.OutgoingConditions = r.textMap("outgoingConditions")
	return d
}

// compact copies JSON text without blanks between its tokens.
func compact(text []byte) json.RawMessage {
	out := bytes.NewBuffer(make([]byte, 0, len(text)))
	if err := json.Compact(out, text); err != nil { // cannot happen: the text was parsed
		return bytes.Clone(text)
	}
	return out.Bytes()
}

// readCredentials is connection-model.md 6.
func readCredentials(r *jsonReader) (c Credentials) {
	c.Type = r.required("type")
	// needed reads a member whose absence is json.invalid, not json.field.missing (Q1).
	needed := func(name string) string {
		s, ok := r.string(name)
		if !ok {
			r.fail(NewJSONInvalid(fmt.Sprintf("The credentials of type %s lack the member </%s>.", c.Type, name)))
		}
		return s
	}
	switch c.Type {
	case CredentialsClientCert:
		c.Cert, c.Key = r.optional("cert"), r.optional("key")
	case CredentialsPlain:
		c.Username, c.Password = r.required("username"), r.required("password")
	case CredentialsPublicKey:
		c.Username, c.PublicKey, c.PrivateKey = r.required("username"), r.required("publicKey"), r.required("privateKey")
	case CredentialsHMAC:
		c.Algorithm = r.required("algorithm")
		if !r.object("parameters", func(r *jsonReader) { c.Parameters = compact(r.raw) }) {
			r.missing("parameters")
		}
	case CredentialsOAuthClient:
		c.TokenEndpoint, c.ClientID = needed("tokenEndpoint"), needed("clientId")
		secret := needed("clientSecret")
		c.ClientSecret, c.RequestedScopes, c.Audience = &secret, needed("requestedScopes"), r.optional("audience")
	case CredentialsOAuthPassword:
		c.TokenEndpoint, c.ClientID, c.ClientSecret = needed("tokenEndpoint"), needed("clientId"), r.optional("clientSecret")
		c.RequestedScopes, c.Username, c.Password, c.Audience = needed("requestedScopes"), needed("username"), needed("password"), r.optional("audience")
	default:
		r.fail(NewJSONInvalid(fmt.Sprintf("The credential type <%s> of </type> is unknown.", shorten(c.Type))))
	}
	return c
}

// readTunnel is connection-model.md 7.
func readTunnel(r *jsonReader) *SSHTunnel {
	t := &SSHTunnel{}
	needed := func(name string) bool {
		if _, ok := r.lookup(name); !ok {
			r.missing(name)
		}
		return r.boolean(name, false)
	}
	t.Enabled = needed("enabled")
	if !r.object("credentials", func(r *jsonReader) { t.Credentials = readCredentials(r) }) {
		r.missing("credentials")
	}
	t.ValidateHost = needed("validateHost")
	t.KnownHosts = r.strict("knownHosts")
	t.URI = r.required("uri")
	return t
}
