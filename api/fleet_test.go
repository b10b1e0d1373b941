package api

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// What workers and node say to each other, byte by byte: a worker may be of
// another version than its node.
func TestFormOfTheFleet(t *testing.T) {
	id := uuid.MustParse("00000000-0000-0000-0000-000000000001")
	const one = `"00000000-0000-0000-0000-000000000001"`
	for want, v := range map[string]any{
		`{"ID":` + one + `,"Session":` + one + `,"Hostname":"h","TaskTypes":["C2"],` +
			`"MemBytes":18446744073709551615,"CPUs":2,"GPUs":null,"Paths":["p"],"URL":"u","PID":3,"Place":"l"}`: WorkerInfo{
			ID:        id,
			Session:   id,
			Hostname:  "h",
			TaskTypes: []TaskType{TaskCommit2},
			MemBytes:  1<<64 - 1,
			CPUs:      2,
			Paths:     []StorageID{"p"},
			URL:       "u",
			PID:       3,
			Place:     "l",
		},
		`{"Task":` + one + `,"Attempt":3}`: HeldTask{Task: id, Attempt: 3},
		`{"Worker":` + one + `,"Task":` + one + `,"Attempt":3,"Stage":"s","Percent":1.5,"Spent":1000000000,"Computed":true}`: TaskProgress{
			Worker:   id,
			Task:     id,
			Attempt:  3,
			Stage:    "s",
			Percent:  1.5,
			Spent:    time.Second,
			Computed: true,
		},
		`{"Attempt":3,"Lease":900000000000}`: TaskClaim{Attempt: 3, Lease: 15 * time.Minute},
		`{"Worker":` + one + `,"Task":` + one + `,"Attempt":3,"Result":{"a":1},"Failure":null}`: TaskReport{
			Worker:  id,
			Task:    id,
			Attempt: 3,
			Result:  json.RawMessage(`{"a":1}`),
		},
		`{"Worker":` + one + `,"Task":` + one + `,"Attempt":3,"Result":null,"Failure":{"Text":"t"}}`: TaskReport{
			Worker:  id,
			Task:    id,
			Attempt: 3,
			Failure: &Failure{Text: "t"},
		},
	} {
		got, err := json.Marshal(v)
		require.NoError(t, err)
		require.JSONEq(t, want, string(got))
	}
}

// What the token of a role carries, and nothing else.
func TestRolesCarryJustWhatTheyNeed(t *testing.T) {
	for role, want := range map[Role][]Permission{
		RoleMarketsPeer: {PermPeer, PermSealingPeer, PermStorageRead},
		RoleWorker:      {PermRead, PermStorageRead, PermWorker},
		RoleLink:        {PermLink},
	} {
		got, ok := RolePermissions(role)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	got, ok := RolePermissions("admin")
	require.False(t, ok)
	require.Nil(t, got)
	for word, want := range map[Permission][]Permission{
		PermRead:   {"read"},
		PermWrite:  {"read", "write"},
		PermSign:   {"read", "write", "sign"},
		PermAdmin:  {"read", "write", "sign", "admin", "sealing-peer", "storage-read", "worker", "tasks", "prove", "peer", "link"},
		PermWorker: nil,
		"":         nil,
	} {
		require.Equal(t, want, ClassicPermissions(word), word)
	}
	ClassicPermissions(PermAdmin)[0] = "spoiled"
	require.Equal(t, PermRead, AllPermissions[0])
}

// What words stand for: admin for all of them, also those that a token is older
// than, and read for what the other half may know.
func TestImpliedPermissions(t *testing.T) {
	for name, c := range map[string]struct{ have, want []Permission }{
		"none":   {nil, nil},
		"admin":  {[]Permission{PermAdmin}, AllPermissions},
		"read":   {[]Permission{PermRead}, []Permission{PermRead, PermPeer}},
		"both":   {[]Permission{PermPeer, PermRead}, []Permission{PermPeer, PermRead}},
		"worker": {[]Permission{PermWorker, PermWrite}, []Permission{PermWorker, PermWrite}},
	} {
		require.Equal(t, c.want, Implied(c.have), name)
	}
	Implied([]Permission{PermAdmin})[0] = "spoiled"
	room := append(make([]Permission, 0, 8), PermRead)
	_ = Implied(room)
	require.Equal(t, PermRead, AllPermissions[0])
	require.Empty(t, room[:2][1], "the caller's list is left alone")
}

func TestCallers(t *testing.T) {
	_, outside := CallerOf(t.Context())
	require.False(t, outside)
	c, outside := CallerOf(WithCaller(t.Context(), Caller{Token: "x", Perms: []Permission{PermRead, PermWorker}}))
	require.True(t, outside)
	require.Equal(t, "x", c.Token)
	require.True(t, c.May(PermAdmin, PermWorker))
	require.False(t, c.May(PermAdmin))
	require.False(t, c.May())
}
