package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestTortureSurvived sends every message of RFC 4475 and RFC 5118 over UDP and over TCP to a running
// office: after each the office answers an OPTIONS. The verdicts themselves are package sip's test.
func TestTortureSurvived(t *testing.T) {
	base := freeBase(t)
	http := fmt.Sprintf("127.0.0.1:%d", base+300)
	up := start(t, "up", "--state", filepath.Join(t.TempDir(), "up"), "--port-base", fmt.Sprint(base), "--http", http)
	up.ready(http)
	office := fmt.Sprintf("127.0.0.1:%d", base)
	files, err := filepath.Glob("../testdata/sip/rfc*/*.dat")
	if err != nil || len(files) < 61 {
		t.Fatalf("%d torture messages, %v; want 61 or more", len(files), err)
	}
	for _, network := range []string{"udp", "tcp"} {
		for i, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			sendRaw(t, network, office, b)
			if err := alive(network, office, i); err != nil {
				t.Fatalf("after %s over %s: %v", filepath.Base(f), network, err)
			}
		}
	}
}

// sendRaw sends b and does not wait for more than a moment.
func sendRaw(t *testing.T, network, office string, b []byte) {
	t.Helper()
	c, err := net.Dial(network, office)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(b)
	c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	c.Read(make([]byte, 65535))
}

// alive asks for an answer to OPTIONS.
func alive(network, office string, n int) error {
	c, err := net.Dial(network, office)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Fprintf(c, "OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bKalive%d%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:t@example.org>;tag=%d\r\n"+
		"To: <sip:%s>\r\nCall-ID: alive%d%s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
		office, bytes.ToUpper([]byte(network)), c.LocalAddr(), n, network, n, office, n, network)
	c.SetReadDeadline(time.Now().Add(3 * time.Second))
	b := make([]byte, 4096)
	k, err := c.Read(b)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(b[:k], []byte("SIP/2.0 200")) {
		return fmt.Errorf("OPTIONS answered %q", bytes.SplitN(b[:k], []byte("\r\n"), 2)[0])
	}
	return nil
}
