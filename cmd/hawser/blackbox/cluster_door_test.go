package blackbox

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hawser/persistence/persistencetest"
)

// authority signs certificates of nodes.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, file: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "black box"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	a.key, der = a.sign(template, template, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

func (a *authority) sign(template, parent *x509.Certificate, with *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if with == nil {
		with = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, with)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, der
}

// env makes a certificate for a node on loopback, for both directions, and names it as the node's configuration does.
func (a *authority) env() []string {
	a.t.Helper()
	key, der := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "node"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.key)
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	dir := a.t.TempDir()
	writePEM(a.t, filepath.Join(dir, "cert.pem"), "CERTIFICATE", der)
	writePEM(a.t, filepath.Join(dir, "key.pem"), "PRIVATE KEY", text)
	return []string{"HAWSER_CLUSTER_TLS_CERT=" + filepath.Join(dir, "cert.pem"), "HAWSER_CLUSTER_TLS_KEY=" + filepath.Join(dir, "key.pem"), "HAWSER_CLUSTER_TLS_CA=" + a.file}
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestClusterTLS: two nodes with certificates of one authority forward commands to each other. One with a certificate of
// another authority, and one without any, reach the same database and are members, but nobody talks with them: they stand
// aside, and everything is answered as before.
func TestClusterTLS(t *testing.T) {
	t.Parallel()
	const connections = 24
	url := persistencetest.Schema(t)
	ours, theirs := newAuthority(t), newAuthority(t)
	good := []*node{newMember(t, url, "good-1", ours.env()...), newMember(t, url, "good-2", ours.env()...)}
	for _, n := range good {
		n.launch()
	}
	for _, n := range good {
		n.awaitMember()
	}
	awaitShared(t, url, 2)
	for k := range connections {
		wantStatus(t, good[k%2].command(with("createConnection", mqttConnection(fmt.Sprintf("c-%02d", k), "tcp://127.0.0.1:1", "closed"))), 201)
	}
	// where asks a node for the connections that it can reach, by the instance that answers.
	where := func(n *node) map[string][]string {
		t.Helper()
		homes := map[string][]string{}
		type located struct{ id, home string }
		results := make(chan located)
		for k := range connections {
			go func() {
				id := fmt.Sprintf("c-%02d", k)
				a, err := n.try(http.MethodPost, "/devops/piggyback/connectivity", envelope(shardRegion, object{"timeout": "1500ms"}, on("retrieveConnectionStatus", id)))
				home := "unreachable"
				if err == nil {
					for _, name := range []string{"good-1", "good-2", "stranger"} {
						if strings.Contains(string(a.body), `"client":"`+name+`"`) {
							home = name
						}
					}
				}
				results <- located{id, home}
			}()
		}
		for range connections {
			r := <-results
			homes[r.home] = append(homes[r.home], r.id)
		}
		return homes
	}
	for _, n := range good {
		if homes := where(n); len(homes["good-1"]) == 0 || len(homes["good-2"]) == 0 || len(homes) != 2 {
			t.Fatalf("through %s: %v", n.instance, homes)
		}
	}
	for name, env := range map[string][]string{"certificate of another authority": theirs.env(), "plaintext": nil} {
		stranger := newMember(t, url, "stranger", env...)
		stranger.launch()
		eventually(t, 30*time.Second, "the stranger stands aside", func() error {
			resp, err := httpClient.Get("http://" + stranger.mgmt + "/ready")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), "stands aside") {
				return fmt.Errorf("/ready: %d %s %v", resp.StatusCode, body, err)
			}
			return nil
		})
		awaitShared(t, url, 2)
		if homes := where(stranger); len(homes) != 1 || len(homes["unreachable"]) == 0 {
			t.Errorf("%s: the stranger was answered: %v", name, homes)
		}
		for _, n := range good {
			eventually(t, 5*time.Second, "the good ones answer for all", func() error {
				if homes := where(n); len(homes) != 2 || len(homes["good-1"]) == 0 || len(homes["good-2"]) == 0 {
					return fmt.Errorf("%s: through %s: %v", name, n.instance, homes)
				}
				return nil
			})
		}
		stranger.stop()
		awaitShared(t, url, 2)
	}
}

// TestClusterDoorIsShut: what would let strangers in, or nobody, stops the start with one line that names the key.
func TestClusterDoorIsShut(t *testing.T) {
	t.Parallel()
	url := persistencetest.Schema(t)
	port := strings.TrimPrefix(freePorts(t, 1)[0], "127.0.0.1:")
	for _, tt := range []struct {
		name  string
		env   []string
		names string // "": it starts
	}{
		{"beyond loopback, switched on", []string{"HAWSER_CLUSTER_ADDRESS=0.0.0.0:" + port, "HAWSER_CLUSTER_ADVERTISED=127.0.0.1:" + port, "HAWSER_CLUSTER_PLAINTEXT=true"}, ""},
		{"beyond loopback without TLS", []string{"HAWSER_CLUSTER_ADDRESS=0.0.0.0:" + port, "HAWSER_CLUSTER_ADVERTISED=127.0.0.1:" + port}, "cluster.address"},
		{"an address that nobody can dial", []string{"HAWSER_CLUSTER_ADDRESS=0.0.0.0:" + port, "HAWSER_CLUSTER_PLAINTEXT=true"}, "cluster.advertised"},
		{"a certificate that is not there", []string{"HAWSER_CLUSTER_TLS_CERT=/nowhere/c", "HAWSER_CLUSTER_TLS_KEY=/nowhere/k", "HAWSER_CLUSTER_TLS_CA=/nowhere/a"}, "cluster.tls.cert"},
		{"another number of shards", []string{"CLUSTER_NUMBER_OF_SHARDS=32"}, "shards"}, // than the first row's
		{"a cluster address that is in use", []string{"HAWSER_CLUSTER_ADDRESS=" + newProxy(t, "127.0.0.1:1").addr}, "cluster address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newMember(t, url, "shut", tt.env...)
			if tt.names == "" {
				n.start()
				n.stop()
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, binary, "serve")
			cmd.Env = n.env
			out, err := cmd.CombinedOutput()
			last := tail(string(out), 1)
			if err == nil || !strings.Contains(last, tt.names) || !strings.HasPrefix(last, "hawser: ") {
				t.Errorf("%v, the last line does not name %s: %s", err, tt.names, out)
			}
		})
	}
}

// TestClusterInstanceIDs is decision O8: the second node with an instance id is called <id>-<cluster port>, in everything
// that it says; the first stays what it is, also when it comes back after a kill.
func TestClusterInstanceIDs(t *testing.T) {
	t.Parallel()
	url := persistencetest.Schema(t)
	first := newMember(t, url, "twin")
	first.start()
	address := freePorts(t, 1)[0]
	second := newMember(t, url, "twin", "HAWSER_CLUSTER_ADDRESS="+address)
	second.start()
	second.instance = "twin-" + strings.TrimPrefix(address, "127.0.0.1:")
	awaitShared(t, url, 2)
	check := func() {
		t.Helper()
		for _, n := range []*node{first, second} {
			get := envelope(shardRegion, object{"aggregate": true}, on("retrieveConnection", "nobody"))
			for _, path := range []string{"/devops/piggyback", "/devops/piggyback/connectivity/" + n.instance} {
				aggregated(func(t *testing.T, reply object) { wantError(t, reply, 404, "connectivity:connection.notfound") })(t, n, n.request(http.MethodPost, path, get))
			}
			if e2 := n.command(object{"type": "no.such:thing"}); e2["instance"] != n.instance {
				t.Errorf("E2: %s, want %s", show(e2), n.instance)
			}
			if status := n.request(http.MethodGet, "/status", "").object(t); status["instance"] != n.instance {
				t.Errorf("/status: %s, want %s", show(status), n.instance)
			}
			if line := tail(n.log.String(), 1); !strings.Contains(line, "instance="+n.instance) || strings.Contains(line, "instance="+n.instance+"-") {
				t.Errorf("log of %s: %s", n.instance, line)
			}
		}
	}
	check()
	homes := map[string]int{}
	for k := range 12 {
		id := fmt.Sprintf("c-%02d", k)
		wantStatus(t, first.command(with("createConnection", mqttConnection(id, "tcp://127.0.0.1:1", "closed"))), 201)
		homes[second.home(id)]++
	}
	if homes[first.instance] == 0 || homes[second.instance] == 0 || len(homes) != 2 {
		t.Errorf("connections live at %v", homes)
	}
	first.kill()
	first.start()
	awaitShared(t, url, 2)
	check()
}
