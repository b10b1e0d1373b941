package storage_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"quarry/api"
	"quarry/proofs/commp"
	"quarry/storage/paths"
)

// inNamespace names the variable that tells this binary to run the test body on
// a file system of its own.
const inNamespace = "QUARRY_TEST_TMPFS"

// TestDiskFull runs the sealing of a sector on a real file system that is really
// full: a tmpfs in a user namespace, which needs no root. For every number of
// files and of pages from none to enough, whatever the kernel refuses (ENOSPC)
// must come back as a failure that can be repeated, leave nothing half made, and
// be over when there is space.
func TestDiskFull(t *testing.T) {
	if os.Getenv(inNamespace) != "" {
		fastTasks.MaxTries = 2
		for kind, limit := range map[string]func(n, files, pages int) string{
			"files": func(n, files, _ int) string { return fmt.Sprintf("size=8m,nr_inodes=%d", files+n) },
			"pages": func(n, _, pages int) string { return fmt.Sprintf("size=%d,nr_inodes=1000", (pages+n)*os.Getpagesize()) },
		} {
			for n := 0; ; n++ {
				if !sealOnFull(t, fmt.Sprintf("%d %s", n, kind), func(files, pages int) string { return limit(n, files, pages) }) {
					if n < 10 {
						t.Fatalf("the disk was never full at %d %s", n, kind)
					}
					break
				}
			}
		}
		return
	}
	probe := namespaced(t, "true")
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("this machine lets nobody make a user namespace (%v, %s), so there is no file system to fill", err, out)
	}
	cmd := namespaced(t, os.Args[0], "-test.run=^TestDiskFull$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "full at") {
		t.Fatalf("nothing was full:\n%s", out)
	}
	t.Logf("%s", out)
}

func namespaced(t *testing.T, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	return cmd
}

// sealOnFull seals, proves and keeps a sector on a tmpfs with the given limit,
// which is told what the path itself uses, and makes more room when a task waits
// for it: the same task then ends well. It tells whether one waited.
func sealOnFull(t *testing.T, name string, limit func(files, pages int) string) (full bool) {
	dir := filepath.Join(t.TempDir(), "both")
	require.NoError(t, os.Mkdir(dir, 0o700))
	mount := func(flags uintptr, options string) {
		t.Helper()
		require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", flags, options), options)
	}
	const plenty = "size=8m,nr_inodes=1000"
	mount(0, plenty)
	defer func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) }()
	require.NoError(t, paths.InitDir(dir, api.PathMeta{ID: "both", Weight: 10, CanSeal: true, CanStore: true}))
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &st))
	mount(unix.MS_REMOUNT, limit(int(st.Files-st.Ffree), int(st.Blocks-st.Bfree))) //nolint:gosec // small

	m, local := newManager(t, memStore(), dir)
	stopM := background(t, m.Run)
	stopW := background(t, newWorker(t, m, local, memStore()).Run)
	defer stopM()
	defer stopW()
	do := func(key string, typ api.TaskType, params any) json.RawMessage {
		raw, err := json.Marshal(params)
		require.NoError(t, err)
		st, err := m.TaskSubmit(t.Context(), api.TaskSpec{Key: key, Type: typ, Sector: ref, Params: raw})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			st, err = m.TaskGet(t.Context(), st.ID)
			if err == nil && !full && noRoom(st) {
				full = true
				t.Logf("%s: full at %s: %v; %s", name, key, st.Failure, st.Waiting)
				mount(unix.MS_REMOUNT, plenty)
				err = m.TaskRetry(t.Context(), st.ID)
			}
			return err == nil && st.Final()
		}, time.Minute, 10*time.Millisecond, key)
		require.Equal(t, api.TaskDone, st.State, "%s: %v", key, st.Failure)
		return st.Result
	}
	r := sealWith(t, do)
	commR := prove(t, m, ref, r)
	do("fin", api.TaskFinalize, api.FinalizeParams{KeepUnsealed: true})
	readBack(t, m, local, ref, r.data)
	require.Empty(t, unprovable(t, m, commR, ref))
	return full
}

// noRoom tells whether a task waits for space, in the words of the kernel, of the
// worker's reservation or of the queue.
func noRoom(st api.TaskStatus) bool {
	var full *api.ErrNoSpace
	return st.State == api.TaskQueued && (st.Failure != nil && errors.As(st.Failure, &full) ||
		strings.Contains(st.Waiting, " free, the largest has "))
}

// sealWith is seal with another way to do a task.
func sealWith(t *testing.T, do func(key string, typ api.TaskType, params any) json.RawMessage) sealed {
	data, add := piece(t, 1000, 1024)
	filler := abi.PieceInfo{PieceCID: commp.ZeroPiece(1024), Size: 1024}
	pieces := []abi.PieceInfo{add.Piece, filler}
	do("AP/0", api.TaskAddPiece, add)
	do("AP/1", api.TaskAddPiece, api.AddPieceParams{Existing: pieces[:1], Piece: filler})
	var pc1 api.PreCommit1Out
	require.NoError(t, json.Unmarshal(do("PC1", api.TaskPreCommit1, api.PreCommit1Params{Ticket: ticket, Pieces: pieces}), &pc1))
	out := sealed{data: data, pieces: pieces}
	require.NoError(t, json.Unmarshal(do("PC2", api.TaskPreCommit2, api.PreCommit2Params{PreCommit1Out: pc1}), &out.pc2))
	return out
}
