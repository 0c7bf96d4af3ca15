// Package s3ship delivers to Amazon S3 and compatible stores.
package s3ship
