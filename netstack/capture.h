/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Frames into a pcap file (nanosecond pcap 2.4, LINKTYPE_ETHERNET), as they
 * pass the segment: segmentation and checksums may still be to be done. */
struct capture;
struct frame;

/* Creates or empties the file. -errno of open(2). */
int capture_new(const char *path, struct capture **out);
void capture_frame(struct capture *capture, const struct frame *frame);
/* What was captured is in the file; for the end of a batch. A write error ends
 * the capture with one log line. */
void capture_flush(struct capture *capture);
void capture_free(struct capture *capture); /* accepts NULL */
