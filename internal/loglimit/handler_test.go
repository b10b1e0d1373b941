package loglimit

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLinesPerSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(New(slog.NewTextHandler(&out, nil), Config{PerSource: 3, PerText: 5, Window: time.Minute}))
		lines := func() (n int) { n = strings.Count(out.String(), "\n"); out.Reset(); return n }
		for port := range 100 {
			log.Warn("refused", "remote", fmt.Sprintf("10.0.0.1:%d", port))
		}
		require.Equal(t, 3, lines())
		log.Warn("refused", "remote", "10.0.0.2:1")
		require.Contains(t, out.String(), "left_out_before=97")
		require.Equal(t, 1, lines(), "another source has its own share")
		log.With("peer", "Qm").WithGroup("g").Warn("refused")
		for i := range 10 { // sources cost nothing
			log.Warn("refused", "remote", fmt.Sprint(i))
		}
		require.Equal(t, 1, lines(), "all sources together")
		log.Warn("other", "remote", "10.0.0.1:9")
		for range 100 {
			log.Warn("refused", "what", "something of ours")
		}
		require.Equal(t, 101, lines(), "another text; lines without a source")
		time.Sleep(time.Minute - 1)
		log.Warn("refused", "remote", "10.0.0.1:1")
		require.Zero(t, lines())
		time.Sleep(1)
		log.Warn("refused", "remote", "10.0.0.1:1")
		require.Contains(t, out.String(), "left_out_before=11")
		require.Equal(t, 1, lines())
	})
}

// What is remembered is bounded, however many texts and sources there are.
func TestMemoryIsBounded(t *testing.T) {
	l := &limits{cfg: Config{PerSource: 1, PerText: 1 << 30, Window: time.Hour}, left: map[string]int{}}
	now := time.Now()
	for i := range 3 * maxKeys {
		l.pass(now, fmt.Sprint(i), "x")
		l.pass(now, fmt.Sprint(i), "x")
	}
	require.LessOrEqual(t, len(l.sources), maxKeys)
	require.LessOrEqual(t, len(l.left), maxKeys+1)
}
