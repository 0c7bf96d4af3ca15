package spool

import "os"

const childEnv = "PENSTOCK_SPOOL_TEST_CHILD"

func child() { os.Exit(1) }
