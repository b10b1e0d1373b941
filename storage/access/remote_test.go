package access

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

// node tells a key, or that it is away.
type node struct {
	key   api.FileKey
	err   error
	asked int
}

func (n *node) StorageFileKey(context.Context) (api.FileKey, error) {
	n.asked++
	return n.key, n.err
}

// A worker asks for the key once, keeps it while the node is away, asks again for a
// new one, and lets strangers make it ask little.
func TestKeyOfTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{err: &api.ErrUnreachable{Peer: "node", Reason: "away"}}
		k := NewRemoteKeys(n)
		one, two := signer(1).Public(), signer(2).Public()
		_, err := k.Key(t.Context(), one.ID)
		require.True(t, api.IsTemporary(err), "%v", err)
		n.key, n.err = one, nil
		_, err = k.Key(t.Context(), one.ID)
		require.ErrorIs(t, err, ErrRefused, "asked a moment ago")
		time.Sleep(askPause)
		got, err := k.Key(t.Context(), one.ID)
		require.NoError(t, err)
		require.Equal(t, one.Public, []byte(got))
		require.Equal(t, 2, n.asked)
		for range 100 {
			_, err = k.Key(t.Context(), "of a stranger")
			require.ErrorIs(t, err, ErrRefused)
			_, err = k.Key(t.Context(), "")
			require.ErrorIs(t, err, ErrRefused)
		}
		require.Equal(t, 2, n.asked)
		n.err = &api.ErrUnreachable{Peer: "node", Reason: "away"}
		time.Sleep(believed)
		_, err = k.Key(t.Context(), one.ID)
		require.NoError(t, err, "the node may be away for long")
		time.Sleep(time.Second)
		_, err = k.Key(t.Context(), one.ID)
		require.True(t, api.IsTemporary(err), "%v", err)
		n.key, n.err = two, nil
		time.Sleep(askPause)
		_, err = k.Key(t.Context(), two.ID)
		require.NoError(t, err)
		_, err = k.Key(t.Context(), one.ID)
		require.ErrorIs(t, err, ErrRefused)
		for name, bad := range map[string]api.FileKey{
			"under another name": {ID: one.ID, Public: two.Public},
			"too short":          {ID: KeyID([]byte("x")), Public: []byte("x")},
		} {
			n.key = bad
			time.Sleep(askPause)
			_, err = k.Key(t.Context(), bad.ID)
			require.ErrorContains(t, err, "no Ed25519 key", name)
		}
	})
}
