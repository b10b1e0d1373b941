package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNeverPrints(t *testing.T) {
	s := New("hunter2")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", s)
	js, err := json.Marshal(map[string]any{"t": s, "p": &s})
	if err != nil {
		t.Fatal(err)
	}
	type nested struct{ T String }
	for _, out := range []string{log.String(), string(js), fmt.Sprint(s), fmt.Sprintf("%+v %#v %s %q", nested{s}, nested{s}, s, s)} {
		if strings.Contains(out, "hunter2") {
			t.Errorf("printed: %s", out)
		}
	}
	if s.Reveal() != "hunter2" || s.Empty() || !New("").Empty() || New("").String() != "" {
		t.Error("value lost")
	}
}
