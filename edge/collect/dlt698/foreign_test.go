package dlt698

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// foreign starts the meter that is written in another language, and returns the
// port that it serves.
func foreign(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", append([]string{filepath.Join("testdata", "meter.py"), "--address", address, "--tcp", "127.0.0.1:0"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: run .ci/deps test", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // as if its power was cut
		_ = cmd.Wait()         // says that it was killed
	})
	var port int
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, scanErr := fmt.Sscanf(line, "ready %d", &port); err != nil || scanErr != nil {
		t.Fatalf("%q, %v", line, errors.Join(err, scanErr))
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// The meter of somebody else is read with the model, as it comes, in parts and in
// fragments; what it hasn't got is missing alone.
func TestForeign_Model(t *testing.T) {
	t.Parallel()
	model, ok := schema.ModelNamed("dlt698-3p")
	if !ok {
		t.Fatal("no model")
	}
	want := map[string]string{
		"V1": "230", "V2": "230.1", "V3": "230.2", "I1": "5.123", "I2": "-5.124", "P": "1.2345", "P1": "-1.2345", "PF": "-0.998", "F": "50.03",
		"EImport": "2298.32", "EExport": "1.26", "EImportDay": "2290", "EExportDay": "1", "DayTime": "20260629000000", "V": "230",
	}
	reasons := map[string]error{"I3": collect.ErrNoValue, "P2": collect.ErrException, "EImportMonth": collect.ErrException, "EImportT1": collect.ErrException}
	items := append(append([]schema.Item{}, model.Items...), schema.Item{Name: "V", OAD: "20000201", Scaler: "20000300", Scale: 1})
	for name, args := range map[string][]string{"whole": nil, "parts": {"--part", "4"}, "fragments": {"--fragment", "30"}, "both": {"--part", "7", "--fragment", "20"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			none := 0
			source := schema.Source{Kind: schema.SourceDLT698TCP, Address: foreign(t, args...), Timeout: calm, Tries: 1, Preamble: &none, MaxFrame: 512}
			driver := New()
			defer driver.Release(source)
			result, err := driver.Poll(t.Context(), collect.Request{Source: source, Meter: schema.Meter{ID: "m", Address: address}, Items: items})
			if !errors.Is(err, collect.ErrException) {
				t.Error(err)
			}
			for name, text := range want {
				if v := result.Values[name]; v.Err != nil || v.Value.Text() != text {
					t.Errorf("%s = %+v, want %s", name, v, text)
				}
			}
			for name, reason := range reasons {
				if v := result.Values[name]; v.Value != nil || !errors.Is(v.Err, reason) {
					t.Errorf("%s = %+v, want %v", name, v, reason)
				}
			}
		})
	}
}
