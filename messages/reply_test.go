package messages

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// The replies of piggyback.md 3, 4 and 4.18, byte for byte.
func TestReplies(t *testing.T) {
	conn := parsed(t, minimal)
	conn.Lifecycle, conn.Revision, conn.Created, conn.Modified = LifecycleActive, 2, at, at
	shown := string(conn.AppendJSON(nil))
	fields, err := ParseFieldSelector("id,_revision,_modified")
	if err != nil {
		t.Fatal(err)
	}
	nothing, err := ParseFieldSelector("")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		reply  Reply
		status int
		want   string
	}{
		{"created", CreatedReply(conn), 201, `{"type":"connectivity.responses:createConnection","status":201,"connection":` + shown + `}`},
		{"modified", AcceptedReply(ModifyConnection, "plant-7"), 204, `{"type":"connectivity.responses:modifyConnection","status":204,"connectionId":"plant-7"}`},
		{"deleted", AcceptedReply(DeleteConnection, "plant-7"), 204, `{"type":"connectivity.responses:deleteConnection","status":204,"connectionId":"plant-7"}`},
		{"opened", AcceptedReply(OpenConnection, "plant-7"), 200, `{"type":"connectivity.responses:openConnection","status":200,"connectionId":"plant-7"}`},
		{"closed", AcceptedReply(CloseConnection, "plant-7"), 200, `{"type":"connectivity.responses:closeConnection","status":200,"connectionId":"plant-7"}`},
		{"reset", AcceptedReply(ResetConnectionMetrics, "plant-7"), 200, `{"type":"connectivity.responses:resetConnectionMetrics","status":200,"connectionId":"plant-7"}`},
		{"tested", TestedReply("plant-7"), 200, `{"type":"connectivity.responses:testConnection","status":200,"connectionId":"plant-7","testResult":"successfully connected + initialized mapper"}`},
		{"test conflict", TestConflictReply("plant-7"), 409, `{"type":"connectivity.responses:testConnection","status":409,"connectionId":"plant-7","testResult":"Connection was already created - no test possible"}`},
		{"tags", TagsReply([]string{"eu", "prod"}), 200, `{"type":"connectivity.sudo.responses:sudoRetrieveConnectionTags","status":200,"connectionTags":["eu","prod"]}`},
		{"no tags", TagsReply(nil), 200, `{"type":"connectivity.sudo.responses:sudoRetrieveConnectionTags","status":200,"connectionTags":[]}`},
		{"retrieved", RetrievedReply(conn, nil), 200, `{"type":"connectivity.responses:retrieveConnection","status":200,"connection":` + shown + `}`},
		{"selected", RetrievedReply(conn, fields), 200, `{"type":"connectivity.responses:retrieveConnection","status":200,"connection":{"id":"plant-7","_revision":2,"_modified":"2026-08-18T10:12:01.004Z"}}`},
		{"nothing selected", RetrievedReply(conn, nothing), 200, `{"type":"connectivity.responses:retrieveConnection","status":200,"connection":{}}`},
		{"ids", IDsReply([]string{"a", "b"}), 200, `{"type":"connectivity.responses:retrieveAllConnectionIds","status":200,"connectionIds":["a","b"]}`},
		{"no ids", IDsReply(nil), 200, `{"type":"connectivity.responses:retrieveAllConnectionIds","status":200,"connectionIds":[]}`},
		{"ids by tag", IDsByTagReply([]string{"a"}), 200, `{"type":"connectivity.sudo.responses:sudoRetrieveConnectionIdsByTag","status":200,"connectionIds":["a"]}`},
		{"ids failed", IDsFailedReply(), 500, `{"type":"connectivity.responses:errorResponse","status":500,"payload":` + string(ErrorReply(NewInternalError()).Body) + `}`},
		{"cleanup", CleanupReply("connection", "plant-7", 200), 200, `{"type":"cleanup.sudo.responses:cleanupPersistence","status":200,"entityType":"connection","entityId":"plant-7"}`},
		{"cleanup failed", CleanupReply("connection", "plant-7", 500), 500, `{"type":"cleanup.sudo.responses:cleanupPersistence","status":500,"entityType":"connection","entityId":"plant-7"}`},
		{"inspected", InspectedReply(RetrieveConnectionLogs, "plant-7", json.RawMessage(`{"connectionLogs":[]}`)), 200, `{"type":"connectivity.responses:retrieveConnectionLogs","status":200,"connectionId":"plant-7","connectionLogs":[]}`},
		{"inspected, nothing there", InspectedReply(RetrieveConnectionLogs, "plant-7", json.RawMessage(` { } `)), 200, `{"type":"connectivity.responses:retrieveConnectionLogs","status":200,"connectionId":"plant-7"}`},
		{"error", ErrorReply(NewTimeoutZero()), 400, `{"description":"Choose a larger timeout.","error":"header.invalid","invalidHeaderKey":"timeout","message":"The header 'timeout' must not be zero while a response is required.","status":400}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.reply.Status != tt.status || string(tt.reply.Body) != tt.want {
				t.Errorf("%d %s\nwant %d %s", tt.reply.Status, tt.reply.Body, tt.status, tt.want)
			}
		})
	}
}

func TestResourceStatusOmitsWhatIsNotThere(t *testing.T) {
	for _, tt := range []struct {
		s    ResourceStatus
		want string
	}{
		{ResourceStatus{Type: ResourceClient, Client: "c", Status: StatusOpen, Recovery: RecoverySucceeded, Details: "CONNECTED", Since: at},
			`{"type":"client","client":"c","status":"open","recoveryStatus":"succeeded","statusDetails":"CONNECTED","inStateSince":"2026-08-18T10:12:01.004Z"}`},
		{ResourceStatus{Type: ResourceSource, Client: "c", Address: "a", Status: StatusClosed}, `{"type":"source","client":"c","address":"a","status":"closed"}`},
	} {
		if got, err := json.Marshal(tt.s); err != nil || string(got) != tt.want {
			t.Errorf("%s %v, want %s", got, err, tt.want)
		}
	}
}

// Codes and statuses of piggyback.md 1.3, 1.8 and 7, and the values that the texts have to name.
func TestErrors(t *testing.T) {
	const c = "connectivity:"
	for _, tt := range []struct {
		err     *Error
		status  int
		code    string
		mention []string
	}{
		{NewNotParsable("x:y"), 400, "json.type.notparsable", []string{"<x:y>"}},
		{NewNotParsable(""), 400, "json.type.notparsable", []string{"<null>"}},
		{NewConnectionNotFound("p"), 404, c + "connection.notfound", []string{"'p'"}},
		{NewConnectionConflict("p"), 409, c + "connection.conflict", []string{"'p'"}},
		{NewConnectionUnavailable("p"), 503, c + "connection.unavailable", []string{"'p'"}},
		{NewConnectionTimeout("p", OpenConnection), 503, c + "connection.timeout", []string{"'p'", OpenConnection}},
		{NewConnectionFailed("p", "no route"), 504, c + "connection.failed", []string{"'p'", "no route"}},
		{NewConnectionFailed("p", ""), 504, c + "connection.failed", []string{"'p'", "driver"}},
		{NewConnectionUnauthorized("p", "refused"), 401, c + "connection.unauthorized", []string{"<p>", "refused"}},
		{NewTypeUnchangeable("p", TypeMQTT5), 400, c + "connection.configuration.invalid", []string{"<p>", "<mqtt-5>"}},
		{NewConfigurationInvalid("m", ""), 400, c + "connection.configuration.invalid", []string{"m"}},
		{NewURIInvalid("tcp://u:p@h"), 400, c + "connection.uri.invalid", []string{"tcp://u:*****@h"}},
		{NewSchemeInvalid("x", []string{"tcp", "ssl"}), 400, c + "connection.uri.invalid", []string{"tcp, ssl"}},
		{NewIDInvalid("a b"), 400, c + "connection.id.invalid", []string{"'a b'", "[a-zA-Z0-9-_:]{1,100}"}},
		{NewSignalIllegal("p", OpenConnection, "closed"), 409, c + "signal.illegal", []string{"'p'", OpenConnection, "closed"}},
		{NewSignalIllegal("p", OpenConnection, "connecting"), 409, c + "signal.illegal", []string{"'p' is connecting"}},
		{NewHistoryNotFoundAtRevision("p", 5), 404, c + "connection.history.notfound", []string{"'p'", "revision '5'"}},
		{NewHistoryNotFoundAtTimestamp("p", "t"), 404, c + "connection.history.notfound", []string{"'p'", "timestamp 't'"}},
		{NewPreconditionFailed("if-match", "x", "t"), 412, c + "precondition.failed", []string{"'if-match'", "'x'", "'t'"}},
		{NewPreconditionNotModified("x", "t"), 304, c + "precondition.notmodified", []string{"'if-none-match'", "'x'", "'t'"}},
		{NewInternalError(), 500, c + "internalerror", nil},
		{NewEnforcementTimeout(50 * time.Second), 503, "enforcement.timeout", []string{"50,000ms"}},
		{NewTargetNotFound("/user/x", []string{"/b", "/a"}), 404, "devops:target.notfound", []string{"'/user/x'", "/a, /b"}},
		{NewServiceNotFound("x"), 404, "devops:service.notfound", []string{"'x'"}},
		{NewInstanceNotFound("x"), 404, "devops:instance.notfound", []string{"'x'"}},
		{NewServiceUnavailable(), 503, "gateway:service.unavailable", nil},
		{NewCommandTimeout(60 * time.Second), 408, "command.timeout", []string{"60,000ms"}},
		{NewAskError("/user/x", 2*time.Second), 503, "ask.error", []string{"[/user/x]", "[2000 ms]"}},
		{NewTimeoutInvalid("abc"), 400, "timeout.invalid", []string{"'abc'"}},
		{NewTimeoutOutOfBounds(61*time.Second, time.Minute), 400, "gateway:timeout.invalid", []string{"<61,000ms>", "<0ms - 60,000ms>"}},
		{NewTimeoutZero(), 400, "header.invalid", []string{"'timeout'"}},
		{NewHeaderInvalid("ditto-sudo", "yes"), 400, "header.invalid", []string{"'ditto-sudo'", "'yes'"}},
		{NewCommandHeadersInvalid(), 400, "command.headers.invalid", []string{"'response-required'", "'false'"}},
		{NewFieldMissing("/uri"), 400, "json.field.missing", []string{"</uri>"}},
		{NewWrongType("/uri", "5", "String"), 400, "json.invalid", []string{"<5>", "</uri>", "<String>"}},
		{NewJSONFormatInvalid(), 400, "json.format.invalid", nil},
		{NewFieldSelectorInvalid("a("), 400, "json.fieldselector.invalid", []string{"'a('"}},
		{NewLabelNotUnique("l"), 409, "acknowledgement:label.not.unique", []string{"'l'"}},
	} {
		if tt.err.Status != tt.status || tt.err.Code != tt.code {
			t.Errorf("%s %d, want %s %d", tt.err.Code, tt.err.Status, tt.code, tt.status)
		}
		for _, m := range tt.mention {
			if !strings.Contains(tt.err.Message+" "+tt.err.Description, m) {
				t.Errorf("%s does not mention %q", tt.err, m)
			}
		}
	}
	if key := NewHeaderInvalid("ditto-sudo", "yes").Members["invalidHeaderKey"]; key != "ditto-sudo" {
		t.Errorf("invalidHeaderKey %v", key)
	}
	if !errors.Is(NewConnectionNotFound("a"), NewConnectionNotFound("b")) || errors.Is(NewConnectionNotFound("a"), NewInternalError()) {
		t.Error("errors.Is compares codes")
	}
	if text := NewTimeoutInvalid(strings.Repeat("ü", 10_000)).Message; len(text) > 400 || !json.Valid(AppendJSONString(nil, text)) {
		t.Errorf("a text of %d bytes", len(text))
	}
	body := decode(t, ErrorReply(NewJSONFormatInvalid()).Body).(object)
	if _, there := body["description"]; there {
		t.Error("json.format.invalid has no description (piggyback.md 1.4)")
	}
}

func TestThousands(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0ms", 999 * time.Millisecond: "999ms", time.Second: "1,000ms", 61 * time.Second: "61,000ms", 1234567 * time.Millisecond: "1,234,567ms", -5 * time.Second: "-5,000ms",
	} {
		if got := millis(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10": 10 * time.Second, "10s": 10 * time.Second, "250ms": 250 * time.Millisecond, "2m": 2 * time.Minute, "1h": time.Hour, "1d": 24 * time.Hour,
		"1w": 7 * 24 * time.Hour, "1mo": 30 * 24 * time.Hour, "1y": 365 * 24 * time.Hour, "0": 0, "0ms": 0, "007s": 7 * time.Second,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "s", "-1", "-1s", "+1s", "1 s", " 1s", "1S", "1.5s", "abc", "1ns", "1ss", "300y", "9223372036854775807", "99999999999999999999ms"} {
		if got, err := ParseDuration(text); !errors.Is(err, ErrDuration) {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
}

func TestInstants(t *testing.T) {
	for nanos, want := range map[int]string{
		0: "2026-08-18T09:00:00Z", 120_000_000: "2026-08-18T09:00:00.120Z", 120_000: "2026-08-18T09:00:00.000120Z", 1: "2026-08-18T09:00:00.000000001Z",
	} {
		local := time.Date(2026, 8, 18, 11, 0, 0, nanos, time.FixedZone("x", 2*3600))
		if got := FormatInstant(local); got != want {
			t.Errorf("%d ns: %s, want %s", nanos, got, want)
		}
	}
}

func TestJavaNumbers(t *testing.T) {
	for literal, want := range map[string]string{
		"1": "1", "-0": "-0", "1.50": "1.5", "1.0": "1.0", "1e0": "1.0", "100.25": "100.25", "1e6": "1000000.0", "1e7": "1.0E7", "1.5e10": "1.5E10",
		"0.001": "0.001", "0.0001": "1.0E-4", "-1.25e-5": "-1.25E-5", "0.0": "0.0", "1e999": "1e999", "12345678901234567890": "12345678901234567890",
	} {
		if got := string(appendJavaNumber(nil, literal)); got != want {
			t.Errorf("%s: %s, want %s", literal, got, want)
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	original := parsed(t, rich)
	before := string(original.AppendJSON(nil))
	c := original.Clone()
	*c.Name = "x"
	c.Sources[0].Addresses[0], c.Sources[0].Enforcement.Filters[0], c.Sources[0].PayloadMapping[0] = "x", "x", "x"
	*c.Sources[0].QoS, *c.Sources[0].ReplyTarget.Address, c.Sources[0].ReplyTarget.ExpectedResponseTypes[0] = 2, "x", "x"
	c.Sources[0].HeaderMapping["x"], c.Sources[0].ReplyTarget.HeaderMapping["x"], c.Targets[0].HeaderMapping["x"] = "x", "x", "x"
	c.Targets[0].Topics[0].Namespaces[0], c.Targets[0].AuthorizationContext[0], c.Tags[0] = "x", "x", "x"
	c.SpecificConfig["x"] = "x"
	copy(c.MappingDefinitions["status"].Options, "XXXX")
	if after := string(original.AppendJSON(nil)); after != before {
		t.Errorf("the original changed:\n%s\n%s", before, after)
	}
}

// TestConnectionOfReply: the connection is cut out of the answers that have one, whatever is in it.
func TestConnectionOfReply(t *testing.T) {
	c, err := ParseConnection([]byte(strings.Replace(minimal, `"id":"plant-7"`, `"id":"plant-7","name":",\"connection\":{}"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	fields, _ := ParseFieldSelector("")
	want, _ := c.MarshalJSON()
	for name, row := range map[string]struct {
		reply Reply
		want  string
	}{
		"created": {CreatedReply(c), string(want)}, "retrieved": {RetrievedReply(c, nil), string(want)}, "nothing selected": {RetrievedReply(c, fields), "{}"},
		"accepted": {AcceptedReply(OpenConnection, "a"), ""}, "error": {ErrorReply(NewConnectionNotFound("a")), ""}, "empty": {Reply{}, ""},
	} {
		got, ok := row.reply.Connection()
		if string(got) != row.want || ok != (row.want != "") {
			t.Errorf("%s: %v %s", name, ok, got)
		}
	}
}
