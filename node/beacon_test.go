package node

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quarry/api"
	"quarry/internal/holder"
)

// A private node does not start on a directory of sectors that one on another
// machine uses, and names that one; it starts when the other has stopped.
func TestPrivateNodeOnAnotherMachine(t *testing.T) {
	set := privateSettings(t, fakeNode(t), "127.0.0.1:0")
	dir := filepath.Join(set.RepoDir, "sectors")
	far := holder.Holder{PID: 7, Host: "far", Since: time.Unix(0, 0), What: "repo /r of miner f01000"}
	b, err := holder.Light(holder.BeaconConfig{Path: filepath.Join(dir, beaconFile), Who: far, Home: holder.Home("/elsewhere")})
	if err != nil {
		t.Fatal(err)
	}
	var used *api.ErrInUse
	err = Run(t.Context(), set)
	if !errors.As(err, &used) || used.What != "storage path "+dir || !strings.HasPrefix(used.Holder, "process 7 on far since") {
		t.Errorf("got %v", err)
	}
	if err := b.Release(); err != nil {
		t.Error(err)
	}
	for range 2 { // and again from the same place
		start(t, set).stop(t)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".private-node*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
