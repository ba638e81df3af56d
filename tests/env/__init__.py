# SPDX-License-Identifier: Apache-2.0
"""What tests need to run: real servers as classes, clients, accounts, and waiting for a condition."""
