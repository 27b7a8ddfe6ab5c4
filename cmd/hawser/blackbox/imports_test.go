package blackbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// listed is what `go list -json` says of a package, as far as the rules read it.
type listed struct {
	ImportPath string
	Imports    []string
}

// layers says which of Hawser's own packages a package may import directly, by path prefix, most specific first. A row
// with no entries may import none of them; an entry that begins with "=" stands for the package itself without those
// below it. Tests are not bound by it.
var layers = []struct {
	pkg string
	may []string
}{
	{"hawser/cmd/hawser/config", nil},
	{"hawser/cmd/hawser/demo", nil},
	{"hawser/cmd", []string{"hawser/gateway", "hawser/actors", "hawser/persistence", "hawser/messages", "hawser/cmd"}},
	{"hawser/gateway/connections", []string{"hawser/gateway", "hawser/messages"}},
	{"hawser/gateway/devops", []string{"hawser/gateway", "hawser/messages"}},
	{"hawser/gateway/status", []string{"hawser/gateway", "hawser/messages"}},
	{"hawser/gateway/oidc", nil},
	{"hawser/gateway", []string{"hawser/gateway/oidc", "hawser/messages"}},
	{"hawser/actors/client/clienttest", []string{"=hawser/actors/client", "hawser/messages", "hawser/persistence/persistencetest/freeport"}},
	{"hawser/actors/client/mqttbinding", []string{"=hawser/actors/client", "hawser/messages"}},
	{"hawser/actors/client/mqtt", []string{"=hawser/actors/client", "hawser/actors/client/mqttbinding", "hawser/messages"}},
	{"hawser/actors/client/mqtt5", []string{"=hawser/actors/client", "hawser/actors/client/mqttbinding", "hawser/messages"}},
	{"hawser/actors", []string{"hawser/actors", "hawser/messages", "hawser/persistence", "hawser/proto"}},
	{"hawser/persistence", []string{"hawser/persistence"}},
	{"hawser/messages/mapping/javascript", []string{"=hawser/messages"}},
	{"hawser/messages", []string{"hawser/messages", "hawser/proto"}},
	{"hawser/proto", nil},
}

// owners says below which packages a library may be imported. The chaos program looks at database and broker from outside,
// as the tests do.
var owners = []struct {
	library string
	below   []string
}{
	{"github.com/asynkron/protoactor-go", []string{"hawser/actors"}},
	{"github.com/jackc/pgx", []string{"hawser/persistence/", "hawser/cmd/chaos"}},
	{"modernc.org/sqlite", []string{"hawser/persistence/sqlite"}},
	{"github.com/eclipse/paho.mqtt.golang", []string{"hawser/actors/client/mqtt/", "hawser/cmd/chaos"}},
	{"github.com/eclipse/paho.golang", []string{"hawser/actors/client/mqtt5/"}},
	{"github.com/mochi-mqtt/server", []string{"hawser/cmd/hawser/demo"}},
	{"github.com/fluent", []string{"hawser/actors/monitor"}},
	{"github.com/go-jose/go-jose", []string{"hawser/gateway/oidc"}},
	{"github.com/dop251/goja", []string{"hawser/messages/mapping/javascript/"}},
	{"github.com/dlclark/regexp2", []string{"hawser/messages/mapping/javascript/"}},
	{"github.com/knadh/koanf", []string{"hawser/cmd/hawser/config"}},
	{"github.com/alecthomas/kong", []string{"hawser/cmd/hawser"}},
	{"github.com/KimMachineGun/automemlimit", []string{"hawser/cmd/hawser"}},
}

func TestImportRules(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "hawser/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := 0
	for dec := json.NewDecoder(bytes.NewReader(out)); ; packages++ {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		checkLayer(t, p)
		checkOwners(t, p)
	}
	if packages < 10 {
		t.Fatalf("go list showed %d packages: the rules were not tested", packages)
	}
}

func checkLayer(t *testing.T, p listed) {
	t.Helper()
	for _, l := range layers {
		if !within(p.ImportPath, l.pkg) {
			continue
		}
	imports:
		for _, imp := range p.Imports {
			if !within(imp, "hawser") {
				continue
			}
			for _, may := range l.may {
				if own, exact := strings.CutPrefix(may, "="); imp == own || !exact && within(imp, may) {
					continue imports
				}
			}
			t.Errorf("%s must not import %s", p.ImportPath, imp)
		}
		return
	}
	t.Errorf("%s stands in no layer: add it to the house (design.md 1) and to this test", p.ImportPath)
}

func checkOwners(t *testing.T, p listed) {
	t.Helper()
	for _, imp := range p.Imports {
		for _, o := range owners {
			owned := func(below string) bool { return strings.HasPrefix(p.ImportPath+"/", below) }
			if within(imp, o.library) && !slices.ContainsFunc(o.below, owned) {
				t.Errorf("%s must not import %s: only packages below %s may", p.ImportPath, imp, strings.Join(o.below, ", "))
			}
		}
	}
}

func within(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}
