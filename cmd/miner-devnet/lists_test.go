package main

import (
	"testing"

	"quarry/internal/clitest"
)

func TestListsHaveJSON(t *testing.T) { clitest.ListsHaveJSON(t, app(), 2) }
