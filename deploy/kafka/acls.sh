#!/bin/sh
# The least rights of a worker. Written by `interestflow topics acls`; pass the cluster and an administrator's login:
#     sh acls.sh --bootstrap-server kafka-1:9093 --command-config admin.properties
set -eu
kafka-acls.sh "$@" --add --allow-principal "User:interestflow" --operation Read --operation Write --operation DescribeConfigs --topic behaviour.click
kafka-acls.sh "$@" --add --allow-principal "User:interestflow" --operation Read --operation Write --operation DescribeConfigs --topic behaviour.browse
kafka-acls.sh "$@" --add --allow-principal "User:interestflow" --operation Read --operation Write --operation DescribeConfigs --topic behaviour.purchase
kafka-acls.sh "$@" --add --allow-principal "User:interestflow" --operation Read --operation Write --operation DescribeConfigs --topic behaviour.ad
kafka-acls.sh "$@" --add --allow-principal "User:interestflow" --operation Read --operation Write --operation DescribeConfigs --topic users.control
kafka-acls.sh "$@" --add --allow-principal "User:interestflow" --operation Read --operation Write --operation DescribeConfigs --topic users.handover
kafka-acls.sh "$@" --add --allow-principal "User:interestflow" --operation Write --operation DescribeConfigs --topic behaviour.dead-letter
kafka-acls.sh "$@" --add --allow-principal "User:interestflow" --operation Read --operation Write --operation DescribeConfigs --topic interestflow-user-behaviour-changelog
kafka-acls.sh "$@" --add --allow-principal "User:interestflow" --operation Read --operation Write --operation DescribeConfigs --topic interestflow-user-scores-changelog
kafka-acls.sh "$@" --add --allow-principal "User:interestflow" --operation Write --operation DescribeConfigs --topic interest.updates
kafka-acls.sh "$@" --add --allow-principal "User:interestflow" --operation Write --operation DescribeConfigs --topic ads.decisions
kafka-acls.sh "$@" --add --allow-principal "User:interestflow" --operation Read --operation DescribeConfigs --topic ads.campaigns
kafka-acls.sh "$@" --add --allow-principal "User:interestflow" --operation Read --operation Write --operation DescribeConfigs --topic catalog.texts
kafka-acls.sh "$@" --add --allow-principal "User:interestflow" --operation Read --operation Write --operation DescribeConfigs --topic models.rollout
kafka-acls.sh "$@" --add --allow-principal "User:interestflow" --operation Read --group interestflow
kafka-acls.sh "$@" --add --allow-principal "User:interestflow" --operation Write --transactional-id interestflow- --resource-pattern-type prefixed
